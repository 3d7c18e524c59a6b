"""The status page: the last clicks, and the button that checks Label Studio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from sam_backend.doctor.finding import Finding, bad, good
from sam_backend.server import check_page, status_page
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import keypoint, rectangle, request_body

ServicesOf = Callable[..., Services]
FORM = "application/x-www-form-urlencoded"
OWN_PAGE = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


def page(client: FlaskClient) -> str:
    return client.get("/", headers={"Accept": "text/html"}).text


def last_clicks(client: FlaskClient) -> list[dict[str, Any]]:
    clicks: list[dict[str, Any]] = client.get("/").get_json()["last_clicks"]
    return clicks


def test_the_last_clicks(client: FlaskClient) -> None:
    assert "None so far" in page(client)
    client.post("/predict", json=request_body([keypoint("a", 50, 50)]))
    client.post("/predict", json=request_body([rectangle("b", 10, 10, 50, 50)]))
    newest, oldest = last_clicks(client)
    assert (oldest["positive"], oldest["negative"], oldest["boxes"]) == (1, 0, 0)
    assert (newest["boxes"], newest["regions"], newest["outcome"]) == (1, 1, "")
    assert newest["engine"] == "disc"
    assert set(newest["milliseconds"]) == {"queue", "image", "encode", "decode", "answer"}
    assert oldest["milliseconds"]["decode"] > 0
    assert newest["answer_bytes"] > 100
    assert "<td>1 +</td>" in page(client)
    assert "1 mask, " in page(client)


def test_a_click_that_is_refused(client: FlaskClient) -> None:
    client.post("/predict", json=request_body([keypoint("a", 50, 50, label="Boat")]))
    (click,) = last_clicks(client)
    assert (click["regions"], click["outcome"]) == (0, "refused")


def test_opening_a_task_is_no_click(client: FlaskClient) -> None:
    client.post("/predict", json=request_body(None))
    client.post("/predict", json=request_body([]))  # an annotation was saved, with prompts in it
    assert last_clicks(client) == []


def test_no_picture_unless_it_is_switched_on(services: ServicesOf) -> None:
    body = request_body([keypoint("a", 50, 50)])
    for setting, count in (("off", 0), ("on", 1)):
        made = services(CLICK_THUMBNAILS=setting)
        client = create_app(made.settings, made).test_client()
        client.post("/predict", json=body)
        assert page(client).count('src="data:image/png') == count
        assert "thumbnail" not in last_clicks(client)[0]


def test_what_requests_chose_is_escaped(client: FlaskClient) -> None:
    body = request_body([keypoint("a", 50, 50)])
    body["tasks"][0]["id"] = "<script>alert(1)</script>"
    client.post("/predict", json=body)
    assert "<script" not in page(client)
    assert "<script" not in status_page.check_page([bad("<b>", "<script>", "<script>")])


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the doctor is asked about; it finds one good and one bad thing."""
    asked: list[Any] = []

    def examine(subject: Any) -> Iterator[Finding]:
        asked.append(subject)
        yield good("Token", "Label Studio accepts it.")
        yield bad("Images", "task 7 has none.", "Import <images>.")

    monkeypatch.setattr(check_page, "examine", examine)
    return asked


def test_the_button(client: FlaskClient, examined: list[Any]) -> None:
    assert 'action="check"' in page(client)
    answer = client.post("/check", data={"project": " 7 "}, headers=OWN_PAGE)
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert "Import &lt;images&gt;." in answer.text
    (subject,) = examined
    assert subject.project == 7
    assert subject.local_address == "http://localhost:9090"


def test_the_same_as_json(client: FlaskClient, examined: list[Any]) -> None:
    found = client.post("/check", json={}).get_json()["findings"]
    assert [finding["state"] for finding in found] == ["good", "bad"]
    assert found[1]["remedy"] == "Import <images>."
    assert examined[0].project is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN_PAGE, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_a_form_of_another_site_is_refused(
    client: FlaskClient, examined: list[Any], headers: dict[str, str], status: int
) -> None:
    answer = client.post("/check", data=b"project=7", content_type=FORM, headers=headers)
    assert answer.status_code == status
    assert len(examined) == (status == 200)


@pytest.mark.parametrize(
    ("host", "status"),
    [("10.1.2.3:9090", 200), ("[fd00::1]:9090", 200), ("localhost", 200), ("sam.example", 403)],
)
def test_without_a_password_the_page_is_opened_by_number(
    client: FlaskClient, examined: list[Any], host: str, status: int
) -> None:
    """The name of another site may lead to this server while the page of that site is open."""
    headers = {"Origin": f"http://{host}", "Host": host}
    answer = client.post("/check", data=b"", content_type=FORM, headers=headers)
    assert answer.status_code == status
    assert len(examined) == (status == 200)


def test_with_a_password_the_page_may_be_opened_by_name(
    services: ServicesOf, examined: list[Any]
) -> None:
    made = services(BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="s3cret")
    client = create_app(made.settings, made).test_client()
    headers = {"Origin": "http://sam.example", "Host": "sam.example"}
    answer = client.post(
        "/check", data=b"", content_type=FORM, headers=headers, auth=("ann", "s3cret")
    )
    assert answer.status_code == 200
    assert len(examined) == 1


def test_a_form_is_for_the_check_alone(client: FlaskClient) -> None:
    for route in ("/setup", "/predict", "/validate"):
        answer = client.post(route, data=b"a=1", content_type=FORM, headers=OWN_PAGE)
        assert answer.status_code == 403  # no page may send to the other routes


@pytest.mark.parametrize(
    "project", ["x", "-1", "0", "1.5", "9" * 5000, "²", "0" * 11 + "1" + "9" * 5000]
)
def test_what_is_no_number_of_a_project(
    client: FlaskClient, examined: list[Any], project: str
) -> None:
    assert client.post("/check", json={"project": project}).status_code == 400
    assert examined == []


def test_the_check_wants_the_password(services: ServicesOf, examined: list[Any]) -> None:
    made = services(BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="s3cret")
    client = create_app(made.settings, made).test_client()
    assert client.post("/check", json={}).status_code == 401
    assert client.post("/check", json={}, auth=("ann", "s3cret")).status_code == 200
    assert len(examined) == 1


def test_one_check_at_a_time(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, examined: list[Any]
) -> None:
    inner: list[int] = []

    def examine(_subject: Any) -> Iterator[Finding]:
        inner.append(client.post("/check", json={}).status_code)
        yield good("Token", "Label Studio accepts it.")

    monkeypatch.setattr(check_page, "examine", examine)
    assert client.post("/check", json={}).status_code == 200
    assert inner == [429]
    assert client.post("/check", json={}).status_code == 200


def test_a_check_that_takes_too_long_ends(
    client: FlaskClient, examined: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_page, "CHECK_S", -1.0)
    found = client.post("/check", json={}).get_json()["findings"]
    assert [finding["check"] for finding in found] == ["Token", "The rest"]


def test_a_server_that_knows_no_label_studio(client: FlaskClient) -> None:
    found = client.post("/check", json={}).get_json()["findings"]
    assert (found[0]["check"], found[0]["state"]) == ("Label Studio", "bad")
    assert "LABEL_STUDIO_URL" in found[0]["remedy"]
