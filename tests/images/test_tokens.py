"""Which token goes along with the request for an image, and where to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sam_backend.errors import Refusal
from sam_backend.images.sources import resolve
from sam_backend.label_studio.access import LabelStudioAccess, is_refresh_token
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection
from tests.images.hosts import fetcher, jwt, only_for
from tests.loopback import Site, always

SettingsOf = Callable[..., Settings]


def test_a_redirect_to_another_path_takes_no_token_along(
    studio: Site, settings: SettingsOf
) -> None:
    studio.routes["/data/upload/1/a.jpg"] = always(302, Location="/api/projects/1/export")
    studio.routes["/api/projects/1/export"] = only_for("Token f00d", b"everything")
    source = resolve("/data/upload/1/a.jpg", "1", StudioConnection(studio.url, "f00d"), None)
    with pytest.raises(Refusal, match="HTTP 401"):
        fetcher(settings(LABEL_STUDIO_URL=studio.url)).fetch(source)
    assert [auth for _, _, auth in studio.requests] == ["Token f00d", None]


def test_legacy_tokens_go_along_as_they_are(studio: Site, settings: SettingsOf) -> None:
    studio.routes["/data/upload/1/a.jpg"] = only_for("Token f00d", b"cat")
    source = resolve("/data/upload/1/a.jpg", "1", StudioConnection(studio.url, "f00d"), None)
    assert fetcher(settings()).fetch(source).content == b"cat"


def test_personal_access_tokens_are_exchanged_once(studio: Site, settings: SettingsOf) -> None:
    token = jwt(token_type="refresh", exp=time.time() + 3600)
    studio.routes["/api/token/refresh/"] = lambda _auth, body: (
        (200, {}, b'{"access": "abc"}')
        if json.loads(body) == {"refresh": token}
        else (401, {}, b"")
    )
    studio.routes["/data/upload/1/a.jpg"] = only_for("Bearer abc", b"cat")
    source, fetches = (
        resolve("/data/upload/1/a.jpg", "1", StudioConnection(studio.url, token), None),
        fetcher(settings()),
    )
    assert fetches.fetch(source).content == fetches.fetch(source).content == b"cat"
    assert studio.paths().count("/api/token/refresh/") == 1


def test_an_access_token_refused_early_is_renewed(studio: Site, settings: SettingsOf) -> None:
    answers = iter([b'{"access": "old"}', b'{"access": "new"}'])
    studio.routes["/api/token/refresh/"] = lambda _auth, _body: (200, {}, next(answers))
    studio.routes["/data/upload/1/a.jpg"] = only_for("Bearer new", b"cat")
    source = resolve(
        "/data/upload/1/a.jpg", "1", StudioConnection(studio.url, jwt(token_type="refresh")), None
    )
    assert fetcher(settings()).fetch(source).content == b"cat"


@pytest.mark.parametrize("status", [401, 403])
def test_a_revoked_personal_token_is_named(studio: Site, settings: SettingsOf, status: int) -> None:
    studio.routes["/api/token/refresh/"] = always(status, b"{}")
    source = resolve(
        "/data/upload/1/a.jpg", "1", StudioConnection(studio.url, jwt(token_type="refresh")), None
    )
    with pytest.raises(Refusal, match="expired or revoked"):
        fetcher(settings()).fetch(source)


def test_a_login_page_instead_of_the_image_means_the_token(
    studio: Site, settings: SettingsOf
) -> None:
    studio.routes["/data/upload/1/a.jpg"] = always(302, Location="/user/login/?next=/a.jpg")
    studio.routes["/user/login/?next=/a.jpg"] = always(200, b"<html>", Content_Type="text/html")
    source = resolve("/data/upload/1/a.jpg", "1", StudioConnection(studio.url, "f00d"), None)
    with pytest.raises(Refusal, match="does not accept the token"):
        fetcher(settings()).fetch(source)


def test_a_token_does_not_follow_a_redirect_to_another_place(
    studio: Site, elsewhere: Site, settings: SettingsOf
) -> None:
    studio.routes["/data/upload/1/a.jpg"] = always(303, Location=elsewhere.url + "/signed.jpg")
    elsewhere.routes["/signed.jpg"] = always(200, b"cat")
    source = resolve("/data/upload/1/a.jpg", "1", StudioConnection(studio.url, "f00d"), None)
    assert fetcher(settings()).fetch(source).content == b"cat"
    assert studio.requests[0][2] == "Token f00d"
    assert elsewhere.requests == [("GET", "/signed.jpg", None)]


def test_a_netrc_file_does_not_replace_the_token(
    studio: Site, settings: SettingsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    studio.routes["/data/upload/1/a.jpg"] = only_for("Token f00d", b"cat")
    source = resolve("/data/upload/1/a.jpg", "1", StudioConnection(studio.url, "f00d"), None)
    assert fetcher(settings()).fetch(source).content == b"cat"


def test_a_token_that_expires_while_it_is_used(studio: Site, settings: SettingsOf) -> None:
    studio.routes["/api/token/refresh/"] = always(200, b'{"access": "abc"}')
    studio.routes["/data/upload/1/a.jpg"] = only_for("Bearer abc", b"cat")
    own, fetches = (
        StudioConnection(studio.url, jwt(token_type="refresh")),
        fetcher(settings(LABEL_STUDIO_URL=studio.url)),
    )
    source = resolve("/data/upload/1/a.jpg", "1", own, None)
    assert fetches.fetch(source).content == b"cat"
    studio.routes["/data/upload/1/a.jpg"] = always(401, b"{}")
    studio.routes["/api/token/refresh/"] = always(401, b"{}")
    with pytest.raises(Refusal, match="expired or revoked"):
        fetches.fetch(source)


def test_settings_come_before_setup_requests(settings: SettingsOf) -> None:
    said = StudioConnection("http://from-setup.example", "said")
    nothing = LabelStudioAccess(settings())
    assert nothing.connection(said) == said
    address = LabelStudioAccess(settings(LABEL_STUDIO_HOST="http://mine.example/"))
    assert address.connection(said) == StudioConnection("http://mine.example", "said")
    both = LabelStudioAccess(
        settings(LABEL_STUDIO_URL="http://mine.example", LABEL_STUDIO_ACCESS_TOKEN="own"),
    )
    assert both.connection(said) == StudioConnection("http://mine.example", "own")


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (jwt(token_type="refresh"), True),
        (jwt(token_type="access"), False),
        ("0123456789abcdef0123456789abcdef01234567", False),
        ("a.b.c", False),
        ("..", False),
    ],
)
def test_personal_tokens_are_told_from_legacy_ones(token: str, expected: bool) -> None:
    assert is_refresh_token(token) is expected
