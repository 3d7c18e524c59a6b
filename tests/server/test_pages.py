"""The pages for people: who gets /try, what they may load, and the description as a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.needs import REPOSITORY

ServicesOf = Callable[..., Services]
FOLDER = REPOSITORY / "sam_backend" / "server" / "try_page"
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


@pytest.fixture
def ask(services: ServicesOf) -> Callable[..., int]:
    def status(address: str = "127.0.0.1", path: str = "/try", **given: str) -> int:
        headers = {"X-Forwarded-For": given.pop("forwarded")} if "forwarded" in given else {}
        made = services(**given)
        client = create_app(made.settings, made).test_client()
        base = {"REMOTE_ADDR": address}
        return client.get(path, headers=headers, environ_base=base).status_code

    return status


@pytest.mark.parametrize(
    ("address", "setting", "status"),
    [
        ("127.0.0.1", "", 200),
        ("127.9.9.9", "", 200),
        ("::1", "", 200),
        ("::ffff:127.0.0.1", "", 200),  # as with HOST=::
        ("::ffff:192.0.2.7", "", 404),
        ("192.0.2.7", "", 404),
        ("", "", 404),
        ("192.0.2.7", "on", 200),
        ("127.0.0.1", "off", 404),
    ],
)
def test_the_page_is_for_this_machine_unless_it_is_switched_on(
    ask: Callable[..., int], address: str, setting: str, status: int
) -> None:
    for path in ("/try", "/try/try.js", "/try/samples/cat.jpg"):
        assert ask(address, path, TRY_PAGE=setting) == status


def test_a_proxy_on_this_machine_asks_for_others(ask: Callable[..., int]) -> None:
    assert ask("127.0.0.1", forwarded="192.0.2.7") == 404


@pytest.mark.parametrize(
    "name", ["../pages.py", "..%2fapp.py", "page.html%00", "samples", "samples/../try.js", "x.js"]
)
def test_no_other_file_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/try/{name}").status_code in (404, 308)


@pytest.mark.parametrize("path", ["/try", "/try/try.js", "/try/try.css", "/docs"])
def test_pages_may_load_nothing_from_other_hosts(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.[hjc][ts]*")), ids=lambda path: path.name)
def test_the_files_name_no_other_host(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://", text)


class _Names(HTMLParser):
    """What a screen reader has for each control."""

    def __init__(self) -> None:
        super().__init__()
        self.unnamed: list[str] = []
        self.handlers: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.handlers += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "img" and not given.get("alt"):
            self.unnamed.append(str(given))
        if given.get("role") in ("application", "toolbar", "radiogroup") and not (
            given.get("aria-label") or given.get("aria-labelledby")
        ):
            self.unnamed.append(str(given))


def test_the_page_has_names_for_a_screen_reader_and_no_inline_code(client: FlaskClient) -> None:
    found = _Names()
    found.feed(client.get("/try").text)
    assert found.unnamed == []
    assert found.handlers == []


def test_the_description_as_a_page_has_each_route(client: FlaskClient) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").get_json()["paths"]:
        assert path in page
    assert "mask_input" in page
    assert "<script" not in page


def test_the_other_address_of_the_page_leads_to_it(client: FlaskClient) -> None:
    assert client.get("/try/").headers["Location"] == "../try"
