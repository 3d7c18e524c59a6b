"""Hosts that send slowly, or nothing: each download ends, and others are answered meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from sam_backend.errors import Refusal
from sam_backend.formats import pictures
from sam_backend.formats.pictures import Pixels
from sam_backend.images import download_slots, encoding
from sam_backend.images.download_slots import DownloadSlots
from sam_backend.images.fetching import Fetcher
from sam_backend.images.sources import resolve
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.net import guarded_http
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.settings import Settings
from tests.fakes import inline, keypoint, picture, request_body
from tests.held import LIMIT_S
from tests.loopback import dripping, site

SettingsOf = Callable[..., Settings]
ServicesOf = Callable[..., Services]


def fetch(settings: Settings, url: str) -> bytes:
    access = LabelStudioAccess(settings)
    return Fetcher(settings, access).fetch(resolve(url, "1", None, None)).content


@pytest.mark.parametrize(
    ("before", "drop"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),  # ends with the connection, whoever ends it
    ],
    ids=["nothing", "headers", "body", "chunks", "body without a length"],
)
def test_a_download_ends_though_bytes_keep_coming(
    settings: SettingsOf, before: bytes, drop: bytes
) -> None:
    ours = settings(ALLOWED_IMAGE_HOSTS="127.0.0.1", FETCH_SECONDS="1")
    refused = pytest.raises(Refusal, match=r"takes over 1 s \(FETCH_SECONDS\)")
    with dripping(before, drop) as url, refused:
        fetch(ours, url + "/a.jpg")


def test_a_host_that_never_finishes_the_tls_handshake(settings: SettingsOf) -> None:
    ours = settings(ALLOWED_IMAGE_HOSTS="127.0.0.1", FETCH_SECONDS="1")
    record = b"\x16\x03\x03\x40\x00"  # a long record is announced
    with dripping(record, b"x") as url, pytest.raises(Refusal, match="takes over 1 s"):
        fetch(ours, url.replace("http:", "https:") + "/a.jpg")


def test_a_connection_that_is_kept_open_has_a_new_time_limit_each_time(
    settings: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = settings(ALLOWED_IMAGE_HOSTS="127.0.0.1", FETCH_SECONDS="60")
    fetcher, deadlines = Fetcher(ours, LabelStudioAccess(ours)), list[guarded_http.Deadline]()

    class Noted(guarded_http.Deadline):
        def __enter__(self) -> guarded_http.Deadline:
            deadlines.append(self)
            return super().__enter__()

    monkeypatch.setattr(guarded_http, "Deadline", Noted)
    monkeypatch.setattr(BaseHTTPRequestHandler, "protocol_version", "HTTP/1.1")
    with site() as bucket:
        bucket.routes["/a.jpg"] = lambda _auth, _body: (200, {}, b"cat")
        source = resolve(bucket.url + "/a.jpg", "1", None, None)
        assert fetcher.fetch(source).content == b"cat"
        deadlines[0]._end()  # the time of the first download is over, long after its end
        assert fetcher.fetch(source).content == b"cat"
    assert len(deadlines) == 2


def test_slots_in_all_and_for_one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_slots, "PATIENCE_S", 0.01)
    for_eight = DownloadSlots(8)
    with for_eight.take("a"), for_eight.take("a"), for_eight.take("a"), for_eight.take("a"):
        with pytest.raises(Refusal, match=r"slow hosts \(here a\): click again"):
            for_eight.take("a").__enter__()
        with for_eight.take("b"), for_eight.take("c"), pytest.raises(Refusal):
            for_eight.take("d").__enter__()
        with for_eight.take("d"):
            pass
    with for_eight.take("a"):
        pass
    with DownloadSlots(1).take("a"):  # one thread is enough to fetch
        pass


def test_clicks_on_slow_images_leave_threads_for_others(services: ServicesOf) -> None:
    """Eight threads, and as many impatient clicks on one image that does not come."""
    made = services(ALLOWED_IMAGE_HOSTS="127.0.0.1", FETCH_SECONDS="60", THREADS="8")
    app = create_app(made.settings, made)

    def click(task: int, image: str) -> object:
        body = request_body([keypoint(f"p{task}", 50, 50)], image=image, task_id=task)
        answer = app.test_client().post("/predict", json=body).json
        assert answer is not None
        return answer["results"][0]["result"]

    with (
        ThreadPoolExecutor(8) as threads,
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x") as slow,
    ):
        stuck = [threads.submit(click, n, slow + "/a.jpg") for n in range(8)]
        other = threads.submit(click, 99, inline(picture()))
        assert other.result()
        assert not all(click.done() for click in stuck)  # it did not wait for those to end
    messages = [refusal.message for refusal in made.state.refusals() or []]
    assert any("too many images are being fetched from slow hosts" in m for m in messages)


def test_of_large_images_one_at_a_time_takes_up_memory(
    services: ServicesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "LARGE_PIXELS", 100 * 100)
    made, at_once, most = services(), 0, {True: 0, False: 0}
    lock, together = threading.Lock(), threading.Event()
    real = pictures.decode

    def decode(content: bytes, limit: int) -> Pixels:
        nonlocal at_once
        is_large = pictures.count(content) > encoding.LARGE_PIXELS
        with lock:
            at_once += 1
            most[is_large] = max(most[is_large], at_once)
            if at_once > 1:
                together.set()
        together.wait(0.05 if is_large else LIMIT_S)
        pixels = real(content, limit)
        with lock:
            at_once -= 1
        return pixels

    monkeypatch.setattr(pictures, "decode", decode)
    for side in (90, 200):
        together.clear()
        sources = [resolve(inline(picture(side, side + n)), "1", None, None) for n in range(6)]
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(made.images.embedding, sources))
    assert most[True] == 1
    assert most[False] > 1
