"""An image that is replaced at its address, while annotators work on its task."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from sam_backend.images import downloads
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import keypoint, picture, request_body
from tests.held import wait_until
from tests.loopback import Reply, Site, site

ServicesOf = Callable[..., Services]


def holds(host: Site, content: bytes, etag: str | None) -> None:
    """A host that says "unchanged" to those who have the image already."""

    def reply(_auth: str | None, _body: bytes) -> Reply:
        if etag is not None and host.headers[-1].get("if-none-match") == etag:
            return 304, {}, b""
        return 200, {"ETag": etag} if etag else {}, content

    host.routes["/a.png"] = reply


class Annotator:
    """Clicks on one image, a minute and more between two clicks if wanted."""

    def __init__(self, made: Services, host: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client = create_app(made.settings, made).test_client()
        self._url = f"{host.url}/a.png"
        self._now = time.time()
        monkeypatch.setattr("sam_backend.embeddings.content_index.time.time", lambda: self._now)

    def waits(self) -> None:
        self._now += downloads.RECHECK_S + 1

    def clicks(self, width: int, height: int) -> bool:
        """Whether a mask of a picture of this size comes."""
        size: dict[str, Any] = {"original_width": width, "original_height": height}
        body = request_body([keypoint("p", 50, 50, **size)], image=self._url)
        answer = self._client.post("/predict", json=body).get_json()
        return bool(answer["results"][0]["result"])


def test_a_click_has_it_checked_for_the_next_one(
    services: ServicesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site() as host:
        annotator = Annotator(services(ALLOWED_IMAGE_HOSTS="127.0.0.1"), host, monkeypatch)
        holds(host, picture(400, 300), '"first"')
        assert annotator.clicks(400, 300)
        assert annotator.clicks(400, 300)
        assert len(host.requests) == 1, "it was read a moment ago"
        annotator.waits()
        holds(host, picture(200, 100), '"second"')
        assert annotator.clicks(400, 300), "no click waits for the check"
        wait_until(lambda: annotator.clicks(200, 100))
        # A click that comes while the new image is encoded may read it as well.
        assert len(host.requests) in (2, 3)


def test_an_unchanged_image_is_asked_about_and_not_read_again(
    services: ServicesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = services(ALLOWED_IMAGE_HOSTS="127.0.0.1")
    with site() as host:
        annotator = Annotator(made, host, monkeypatch)
        holds(host, picture(400, 300), '"first"')
        assert annotator.clicks(400, 300)
        annotator.waits()
        for _ in range(5):
            assert annotator.clicks(400, 300)
        wait_until(lambda: len(host.requests) == 2)
        assert annotator.clicks(400, 300)
        assert [headers.get("if-none-match") for headers in host.headers] == [None, '"first"']


def test_a_host_that_names_no_version_is_not_asked(
    services: ServicesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check would read the whole image."""
    made = services(ALLOWED_IMAGE_HOSTS="127.0.0.1")
    with site() as host:
        annotator = Annotator(made, host, monkeypatch)
        holds(host, picture(400, 300), None)
        assert annotator.clicks(400, 300)
        annotator.waits()
        assert annotator.clicks(400, 300)
        assert len(made.images.prefetcher) == 0
        assert len(host.requests) == 1
