"""Names that lead to this server: a web page may have one of its own that does (DNS rebinding)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from sam_backend.errors import SettingsError
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.settings import Settings

ServicesOf = Callable[..., Services]

FOREIGN = ["evil.example", "evil.example:9090", "127.0.0.1.evil.example", "a.localhost.evil.com"]
OWN = ["127.0.0.1:9090", "[::1]:9090", "localhost", "192.0.2.7", "sam", "sam:9090"]
OWN += ["gpu-1.local", "host.docker.internal:9090", "nas.home.arpa", "Box.LAN"]
OWN += ["sam.monitoring.svc.cluster.local"]
FOREIGN += ["127.1", "0x7f.0.0.1", "evil.example."]
# Names with underscores are none to Werkzeug. Browsers and Docker know them.
FOREIGN += ["a_b.evil.example", "a_b.evil.example:9090"]
OWN += ["sam_backend", "sam_backend:9090"]


@pytest.mark.parametrize("route", ["/", "/metrics"])
@pytest.mark.parametrize("host", FOREIGN)
def test_another_sites_name_gets_no_status(client: FlaskClient, route: str, host: str) -> None:
    for method in (client.get, client.head):
        assert method(route, headers={"Host": host}).status_code in (400, 403)
    answer = client.get(route, headers={"Host": "evil.example"}).get_json()
    assert "SERVER_NAMES" in answer["error"]


@pytest.mark.parametrize("host", OWN)
def test_numbers_and_the_names_of_local_networks_do(client: FlaskClient, host: str) -> None:
    for route in ("/", "/metrics"):
        assert client.get(route, headers={"Host": host}).status_code == 200


def test_a_page_of_this_server_may_have_an_underscore_in_its_name(client: FlaskClient) -> None:
    for name, status in (("sam_backend:9090", 200), ("a_b.evil.example:9090", 403)):
        headers = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
        assert client.post("/check", json={}, headers=headers).status_code == status


def test_label_studio_may_use_any_name(client: FlaskClient) -> None:
    """Its calls tell nothing of other projects."""
    headers = {"Host": "sam.example.com"}
    assert client.get("/health", headers=headers).status_code == 200
    for route in ("/setup", "/predict", "/webhook"):
        body = {"project": "1.1", "tasks": []}
        assert client.post(route, json=body, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        {"SERVER_NAMES": "other.example, SAM.example.com"},
        {"BASIC_AUTH_USER": "ann", "BASIC_AUTH_PASS": "s3cret"},
    ],
)
def test_a_name_that_the_operator_gave_and_any_name_with_a_password(
    services: ServicesOf, given: dict[str, str]
) -> None:
    made = services(**given)
    client = create_app(made.settings, made).test_client()
    auth = ("ann", "s3cret")
    for route in ("/", "/metrics"):
        answer = client.get(route, headers={"Host": "sam.example.com:9090"}, auth=auth)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "name", ["http://sam.example.com", "sam.example.com:9090", "*.example.com"]
)
def test_what_is_no_name_is_refused_at_the_start(
    settings: Callable[..., Settings], name: str
) -> None:
    with pytest.raises(SettingsError, match=r"SERVER_NAMES: .* is not the name of a host"):
        settings(SERVER_NAMES=name)
