"""Which Label Studio is believed where none is configured: what `/setup` says is only a claim."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from sam_backend.label_studio.trust import setup_connection
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared.projects import StudioConnection
from sam_backend.shared.state import State
from tests.fakes import BRUSH_LABELS, keypoint, picture, request_body
from tests.loopback import Site, always, dripping, site, who_am_i

ServicesOf = Callable[..., Services]
PROOF = "/api/current-user/whoami"


@pytest.fixture
def studio() -> Iterator[Site]:
    with site() as served:
        served.routes[PROOF] = who_am_i("f00d")
        served.routes["/data/upload/1/a.png"] = always(200, picture())
        yield served


@pytest.fixture
def other() -> Iterator[Site]:
    with site() as served:
        served.routes[PROOF] = who_am_i("beef")
        served.routes["/data/upload/1/a.png"] = always(200, picture())
        yield served


class BackEnd:
    """A back end, and what people see of it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._client: FlaskClient = create_app(services.settings, services).test_client()

    def setup(self, hostname: str, token: str | None, project: str = "1.1") -> None:
        body = {
            "project": project,
            "schema": BRUSH_LABELS,
            "hostname": hostname,
            "access_token": token,
        }
        assert self._client.post("/setup", json=body).status_code == 200

    def click(self, image: str = "/data/upload/1/a.png", project: str = "1.1") -> bool:
        """Whether a mask came."""
        body = request_body([keypoint("p", 50, 50)], image=image) | {"project": project}
        answer: Any = self._client.post("/predict", json=body).json
        return bool(answer["results"][0]["result"])

    @property
    def label_studio(self) -> str:
        report: Any = self._client.get("/").json
        return str(report["label_studio"])

    @property
    def last_error(self) -> str:
        refusals = self._services.state.refusals()
        return refusals[0].message if refusals else ""


@pytest.fixture
def back_end(services: ServicesOf) -> Callable[..., BackEnd]:
    return lambda **environ: BackEnd(services(**environ))


def test_one_that_answers_as_label_studio_and_accepts_its_token(
    back_end: Callable[..., BackEnd], studio: Site
) -> None:
    made = back_end()
    made.setup(studio.url, "f00d")
    assert studio.requests == []  # nothing is asked while Label Studio waits for /setup
    assert made.label_studio == "the first one that a project's setup names"
    assert made.click()
    assert studio.paths() == [PROOF, "/data/upload/1/a.png"]
    assert made.label_studio == studio.url


def test_it_is_asked_for_a_proof_once(back_end: Callable[..., BackEnd], studio: Site) -> None:
    studio.routes["/data/upload/1/b.png"] = always(200, picture(500))
    made = back_end()
    made.setup(studio.url, "f00d")
    made.click()
    made.click("/data/upload/1/b.png")
    again = back_end()  # after a restart
    again.click("/data/upload/1/c.png")
    assert studio.paths().count(PROOF) == 1


def test_another_one_after_it_is_not_believed(
    back_end: Callable[..., BackEnd], studio: Site, other: Site
) -> None:
    made = back_end()
    made.setup(studio.url, "f00d")
    assert made.click()
    made.setup(other.url, "beef")
    assert f"not trusted, because {studio.url} came first" in made.last_error
    assert f"set LABEL_STUDIO_URL={other.url}" in made.last_error
    made.setup(other.url, "beef", "2.2")
    assert not made.click(project="2.2")
    assert other.requests == []
    assert made.click("/data/upload/1/a.png?again") is False  # a 404, but of its own studio
    assert studio.requests[-1][2] == "Token f00d"


def test_of_two_at_once_the_first_to_prove_itself(
    back_end: Callable[..., BackEnd], studio: Site, other: Site
) -> None:
    made = back_end()
    made.setup(studio.url, "f00d", "1.1")
    made.setup(other.url, "beef", "2.2")
    assert made.click(project="2.2")
    assert not made.click(project="1.1")
    assert "is not trusted" in made.last_error
    assert studio.requests == []


def test_a_configured_label_studio_needs_no_proof(
    back_end: Callable[..., BackEnd], studio: Site, other: Site
) -> None:
    """In a container, Label Studio tells a name of its own that means nothing here."""
    made = back_end(LABEL_STUDIO_URL=studio.url)
    made.setup(other.url, "f00d")
    assert made.last_error == ""
    assert made.click()
    assert studio.requests == [("GET", "/data/upload/1/a.png", "Token f00d")]
    assert other.requests == []


def test_where_legacy_tokens_are_off_nothing_is_proven(
    back_end: Callable[..., BackEnd], studio: Site
) -> None:
    made = back_end()
    made.setup(studio.url, "of an organisation without legacy tokens")
    assert not made.click()
    assert "does not accept the token: create a Personal Access Token" in made.last_error
    assert studio.paths() == [PROOF]
    inline = "data:image/png;base64," + base64.b64encode(picture()).decode()
    assert made.click(inline)  # what needs no Label Studio works


@pytest.mark.parametrize("path", ["", "/studio"])
def test_a_whole_address_on_label_studio_needs_the_proof_too(
    back_end: Callable[..., BackEnd], studio: Site, path: str
) -> None:
    studio.routes[path + PROOF] = who_am_i("f00d")
    studio.routes[path + "/data/upload/1/a.png"] = always(200, picture())
    made = back_end()
    made.setup(studio.url + path, "wrong")
    assert not made.click(studio.url + path + "/data/upload/1/a.png")
    assert "does not accept the token" in made.last_error
    made.setup(studio.url + path, "f00d")
    assert made.click(studio.url + path + "/data/upload/1/a.png")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (always(200, b"<html>", Content_Type="text/html"), "does not answer like Label Studio"),
        (always(200, b"[]"), "does not answer like Label Studio"),
        (always(200, b'{"id": "x", "email": 1}'), "does not answer like Label Studio"),
        (always(200, b'{"id": 1, "email": "' + b"x" * 100_000 + b'"}'), "does not answer"),
        (always(404, b"{}"), "does not answer like Label Studio"),
        (always(500), "does not answer like Label Studio"),
        (always(302, Location="http://169.254.169.254/"), "redirects elsewhere"),
        (always(302, Location="//["), "redirects elsewhere"),
        (always(401, b"<html>"), "does not accept the token"),
    ],
)
def test_other_servers_are_not_trusted(
    back_end: Callable[..., BackEnd], studio: Site, answer: Any, message: str
) -> None:
    studio.routes[PROOF] = answer
    made = back_end()
    made.setup(studio.url, "f00d")
    assert not made.click()
    assert message in made.last_error
    assert studio.paths() == [PROOF]


def test_one_that_answers_a_byte_now_and_then_is_not_waited_for(
    back_end: Callable[..., BackEnd],
) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"{") as url:
        made = back_end()
        made.setup(url, "f00d")
        assert not made.click()
        assert "no answer within 3 s" in made.last_error


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "224.0.0.1",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
    ],
)
def test_where_none_can_be_is_not_even_asked(back_end: Callable[..., BackEnd], host: str) -> None:
    made = back_end()
    made.setup(f"http://{host}", "f00d")
    assert not made.click()
    assert "LABEL_STUDIO_URL" in made.last_error or "cannot be reached" in made.last_error


@pytest.mark.parametrize(
    "hostname",
    [
        None,
        "",
        7,
        "studio.example",
        "ftp://studio.example",
        "file:///etc",
        "http://",
        "http://studio.example:port",
        "http://[",
        "http://ann:secret@studio.example",
        "http://studio.example/admin?delete=1&x=",
        "http://studio.example/#",
    ],
)
def test_a_hostname_that_is_no_address_tells_nothing(hostname: object) -> None:
    assert setup_connection(hostname, "f00d") is None


@pytest.mark.parametrize("token", ["", None, "a\nX-Y: z", "\u2603", ["a", "b"], "x" * 10_000])
def test_a_token_that_no_header_may_hold_is_none(token: object) -> None:
    assert setup_connection("http://studio.example/", token) == StudioConnection(
        "http://studio.example", None
    )


@pytest.mark.parametrize("hostname", ["http://a\\@studio.example", "http://a/b\\c", "http://a\t/"])
def test_a_hostname_that_could_be_read_in_two_ways_tells_nothing(hostname: str) -> None:
    assert setup_connection(hostname, "f00d") is None


def test_an_empty_hostname_keeps_the_earlier_connection(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.remember_setup("1", StudioConnection("http://studio.example", "f00d"), {"a": 1})
    state.remember_setup("1", None, {"a": 2})
    assert state.project("1").from_setup == StudioConnection("http://studio.example", "f00d")
    assert state.project("1").extra_params == {"a": 2}
