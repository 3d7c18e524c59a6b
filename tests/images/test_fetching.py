"""What a host answers to the request for an image: errors, limits and broken connections."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable

import pytest

from sam_backend.errors import Refusal
from sam_backend.images.sources import resolve
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection
from tests.fakes import inline
from tests.images.hosts import fetcher, jwt
from tests.loopback import Route, Site, always, site

SettingsOf = Callable[..., Settings]


def test_a_missing_image_is_named_without_its_signature(
    elsewhere: Site, settings: SettingsOf
) -> None:
    source = resolve(elsewhere.url + "/gone.jpg?X-Signature=secret", "1", None, None)
    with pytest.raises(Refusal, match=r"/gone.jpg' cannot be fetched: HTTP 404") as refused:
        fetcher(settings()).fetch(source)
    assert "secret" not in str(refused.value)


def test_a_web_page_is_not_an_image(elsewhere: Site, settings: SettingsOf) -> None:
    elsewhere.routes["/data/upload/1/a.jpg"] = always(
        200, b"<html>", Content_Type="text/html; charset=utf-8"
    )
    with pytest.raises(Refusal, match="a web page, not an image"):
        fetcher(settings()).fetch(resolve(elsewhere.url + "/data/upload/1/a.jpg", "1", None, None))


def test_an_answer_that_unpacks_to_more_than_the_limit(
    elsewhere: Site, settings: SettingsOf
) -> None:
    packed = gzip.compress(bytes(300 << 20))
    elsewhere.routes["/data/upload/1/a.jpg"] = always(200, packed, Content_Encoding="gzip")
    with pytest.raises(Refusal, match="over 5 MB"):
        fetcher(settings(MAX_IMAGE_MB="5")).fetch(
            resolve(elsewhere.url + "/data/upload/1/a.jpg", "1", None, None)
        )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (always(500, b"<html>", Content_Type="text/html"), "HTTP 500"),
        (always(502), "HTTP 502"),
        (always(200, b"<html>", Content_Type="text/html"), "does not accept the token"),
        (always(403, b"{}"), "does not accept the token"),
        (always(401, b"{}"), "does not accept the token"),
        (always(302, Location="/nowhere"), "HTTP 404"),
    ],
)
def test_a_label_studio_in_trouble_harms_one_image(
    studio: Site, settings: SettingsOf, answer: Route, message: str
) -> None:
    studio.routes["/data/upload/1/a.jpg"], studio.routes["/data/upload/1/b.jpg"] = (
        answer,
        always(200, b"cat"),
    )
    own, fetches = (
        StudioConnection(studio.url, "f00d"),
        fetcher(settings(LABEL_STUDIO_URL=studio.url)),
    )
    with pytest.raises(Refusal, match=message):
        fetches.fetch(resolve("/data/upload/1/a.jpg", "1", own, None))
    assert fetches.fetch(resolve("/data/upload/1/b.jpg", "1", own, None)).content == b"cat"


def test_a_label_studio_that_was_restarted(settings: SettingsOf) -> None:
    """Connections that were kept open to the earlier one are gone."""
    fetches = None
    with site() as studio:
        studio.routes["/data/upload/1/a.jpg"] = always(200, b"cat")
        fetches = fetcher(settings(LABEL_STUDIO_URL=studio.url))
        source = resolve("/data/upload/1/a.jpg", "1", StudioConnection(studio.url, "f00d"), None)
        assert fetches.fetch(source).content == b"cat"
    with pytest.raises(Refusal, match="set LABEL_STUDIO_URL"):
        fetches.fetch(source)
    with site(port=int(studio.url.rsplit(":", 1)[1])) as again:
        again.routes["/data/upload/1/a.jpg"] = always(200, b"dog")
        assert fetches.fetch(source).content == b"dog"


def test_a_bucket_that_refuses_is_not_label_studio_refusing(
    studio: Site, elsewhere: Site, settings: SettingsOf
) -> None:
    """A presigned address is good for a while only."""
    studio.routes["/data/upload/1/a.jpg"] = always(303, Location=elsewhere.url + "/signed.jpg")
    elsewhere.routes["/signed.jpg"] = always(403, b"<Error/>", Content_Type="application/xml")
    own = StudioConnection(studio.url, "f00d")
    with pytest.raises(Refusal, match="cannot be fetched: HTTP 403"):
        fetcher(settings(LABEL_STUDIO_URL=studio.url)).fetch(
            resolve("/data/upload/1/a.jpg", "1", own, None)
        )


def test_an_answer_that_breaks_off_is_refused(elsewhere: Site, settings: SettingsOf) -> None:
    elsewhere.routes["/data/upload/1/a.jpg"] = always(200, b"only this", Content_Length="5000")
    with pytest.raises(Refusal, match="broke off"):
        fetcher(settings()).fetch(resolve(elsewhere.url + "/data/upload/1/a.jpg", "1", None, None))


def test_an_image_over_the_limit_is_not_read_to_its_end(
    elsewhere: Site, settings: SettingsOf
) -> None:
    elsewhere.routes["/data/upload/1/a.jpg"] = always(200, b"x" * (3 << 20))
    with pytest.raises(Refusal, match=r"over 1 MB \(MAX_IMAGE_MB\)"):
        fetcher(settings(MAX_IMAGE_MB="1")).fetch(
            resolve(elsewhere.url + "/data/upload/1/a.jpg", "1", None, None)
        )


def test_an_image_in_the_task_has_the_same_limit(settings: SettingsOf) -> None:
    source = resolve(inline(b"x" * (3 << 20)), "1", None, None)
    with pytest.raises(Refusal, match=r"the image in the task's data is over 1 MB"):
        fetcher(settings(MAX_IMAGE_MB="1")).fetch(source)


def test_a_host_without_an_address(settings: SettingsOf, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    source = resolve("http://nowhere.example/a.jpg", "1", None, None)
    with pytest.raises(Refusal, match=r"cannot be fetched \(its name has no address\)"):
        fetcher(settings()).fetch(source)


def test_a_proxy_that_is_not_there(settings: SettingsOf, monkeypatch: pytest.MonkeyPatch) -> None:
    with site() as gone:
        proxy = gone.url
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy.replace("http://", "http://user:secret@"))
    source = resolve("http://192.0.2.7/a.jpg", "1", None, None)
    with pytest.raises(Refusal, match=r"cannot be fetched \(the proxy makes no conn") as refused:
        fetcher(settings(ALLOWED_IMAGE_HOSTS="192.0.2.7")).fetch(source)
    assert "secret" not in str(refused.value)


def test_nobody_there(settings: SettingsOf) -> None:
    with site() as gone:
        url = gone.url
    with pytest.raises(
        Refusal, match=r"cannot be fetched \(nothing listens there\): set LABEL_STUDIO_URL"
    ):
        fetcher(settings()).fetch(
            resolve("/data/upload/1/a.jpg", "1", StudioConnection(url, "f00d"), None)
        )
    token = jwt(token_type="refresh")
    with pytest.raises(Refusal, match="cannot be reached"):
        fetcher(settings()).fetch(
            resolve("/data/upload/1/a.jpg", "1", StudioConnection(url, token), None)
        )
