"""What Label Studio or another host answers is read to a limit, unpacked, and not for ever."""

from __future__ import annotations

import base64
import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest

from sam_backend.errors import Refusal
from sam_backend.images.fetching import Fetcher
from sam_backend.images.sources import resolve
from sam_backend.label_studio import access, api, trust
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.label_studio.api import StudioApi
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection
from tests.loopback import Site, always, dripping, site

SettingsOf = Callable[..., Settings]
REFRESH = "h." + base64.urlsafe_b64encode(b'{"token_type":"refresh"}').decode().rstrip("=") + ".s"
MB = 1 << 20
BOMB = gzip.compress(bytes(300 * MB), 9)
HALVES = {"one": BOMB, "twice": gzip.compress(BOMB, 9), "deflate": zlib.compress(bytes(300 * MB))}
ENCODINGS = {"one": "gzip", "twice": "gzip, gzip", "deflate": "deflate"}


def exchange(settings: SettingsOf, url: str) -> None:
    access = LabelStudioAccess(settings(LABEL_STUDIO_URL=url))
    access.authorization(StudioConnection(url, REFRESH))


def proof(settings: SettingsOf, url: str) -> None:
    access = LabelStudioAccess(settings())
    own = StudioConnection(url, "f00d")
    trust.prove(own, access.session, access.authorization(own))


def picture(settings: SettingsOf, url: str) -> None:
    ours = settings(LABEL_STUDIO_URL=url, MAX_IMAGE_MB="1")
    fetcher = Fetcher(ours, LabelStudioAccess(ours))
    fetcher.fetch(resolve("/data/upload/1/a.jpg", "1", StudioConnection(url, None), None))


def page(settings: SettingsOf, url: str) -> None:
    ours = settings(LABEL_STUDIO_URL=url, LABEL_STUDIO_API_KEY="f00d", MAX_BODY_MB="1")
    StudioApi(ours).get("/api/projects/7")


def posted(settings: SettingsOf, url: str) -> None:
    ours = settings(LABEL_STUDIO_URL=url, LABEL_STUDIO_API_KEY="f00d", MAX_BODY_MB="1")
    StudioApi(ours).post("/api/predictions", {})


def export(settings: SettingsOf, url: str) -> None:
    ours = settings(LABEL_STUDIO_URL=url, LABEL_STUDIO_API_KEY="f00d")
    with StudioApi(ours).stream("/api/projects/7/export") as chunks:
        for _ in chunks:
            pass


ASKS = {
    "/api/token/refresh/": exchange,
    "/api/current-user/whoami": proof,
    "/data/upload/1/a.jpg": picture,
    "/api/projects/7": page,
    "/api/predictions": posted,
    "/api/projects/7/export": export,
}
asked = pytest.mark.parametrize("path", ASKS)


@pytest.fixture
def studio() -> Iterator[Site]:
    with site() as served:
        yield served


@asked
@pytest.mark.parametrize("packing", ENCODINGS)
@pytest.mark.parametrize("status", [200, 302, 400, 500])
def test_an_answer_that_unpacks_to_much_more_takes_no_memory(
    studio: Site,
    settings: SettingsOf,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    packing: str,
    status: int,
) -> None:
    monkeypatch.setattr(api, "MOST_EXPORT_BYTES", 5 * MB)
    head = {"Content_Encoding": ENCODINGS[packing], "Location": "/elsewhere"}
    studio.routes[path] = always(status, HALVES[packing], **head)
    tracemalloc.start()
    try:
        with pytest.raises(Refusal) as refused:
            ASKS[path](settings, studio.url)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * MB
    assert len(str(refused.value)) < 400


def test_a_large_answer_is_in_memory_once(studio: Site, settings: SettingsOf) -> None:
    ours = settings(ALLOWED_IMAGE_HOSTS="127.0.0.1")
    studio.routes["/a.jpg"] = always(200, bytes(40 * MB))
    fetcher = Fetcher(ours, LabelStudioAccess(ours))
    fetcher.fetch(resolve(studio.url + "/a.jpg", "1", None, None))  # imports have their memory too
    tracemalloc.start()
    try:
        read = fetcher.fetch(resolve(studio.url + "/a.jpg", "1", None, None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(read.content) == 40 * MB
    assert peak < 60 * MB


@asked
@pytest.mark.parametrize(
    "before",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",  # its end is the connection's
        b"HTTP/1.1 500 No\r\nContent-Length: 5000\r\n\r\n",
    ],
)
def test_an_answer_that_comes_a_byte_now_and_then_ends(
    settings: SettingsOf, monkeypatch: pytest.MonkeyPatch, path: str, before: bytes
) -> None:
    monkeypatch.setattr(access, "_EXCHANGE_S", 0.3)
    monkeypatch.setattr(trust, "PROOF_S", 0.3)
    monkeypatch.setattr(api, "ANSWER_S", 0.3)
    monkeypatch.setattr(api, "EXPORT_S", 0.3)
    with dripping(before, b" ") as url, pytest.raises(Refusal):
        ASKS[path](lambda **environ: settings(**environ, FETCH_SECONDS="1"), url)


@asked
def test_answers_are_asked_for_as_they_are(studio: Site, settings: SettingsOf, path: str) -> None:
    with pytest.raises(Refusal):
        ASKS[path](settings, studio.url)
    assert studio.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "access", [b'""', b"7", b'["a"]', b'"a b"', b'"a\\r\\nX-Y: z"', b'"\\u2603"', b"null"]
)
def test_an_invalid_token_is_not_sent(studio: Site, settings: SettingsOf, access: bytes) -> None:
    studio.routes["/api/token/refresh/"] = always(200, b'{"access": ' + access + b"}")
    with pytest.raises(Refusal, match="no token"):
        exchange(settings, studio.url)
