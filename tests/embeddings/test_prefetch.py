"""Opened tasks are encoded ahead, the newest first, and never before a click."""

from __future__ import annotations

import base64
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from sam_backend.embeddings.prefetch import Prefetcher
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared.scheduling import Schedule
from tests import shades
from tests.held import wait_until


def url(brightness: int) -> str:
    return "data:image/png;base64," + base64.b64encode(shades.picture(brightness)).decode()


class Backend:
    """The app on a fake engine whose encodes wait until they are let go."""

    def __init__(self, folder: Path) -> None:
        self.engine = shades.FakeEngine()
        self.services: Services = shades.services(folder, self.engine)
        self.client: FlaskClient = create_app(self.services.settings, self.services).test_client()
        self.encoding = threading.Semaphore(0)
        self.started: list[None] = []

    def hold(self) -> None:
        def before() -> None:
            self.started.append(None)
            assert self.encoding.acquire(timeout=30)

        self.engine.before_encode = before

    def open(self, task: int, brightness: int) -> None:
        response = self.client.post("/predict", json=shades.click(task, url(brightness)))
        assert response.json == {"results": [[]]}

    def click(self, task: int, brightness: int) -> object:
        body = shades.click(task, url(brightness), shades.keypoint("p", 50, 50))
        response = self.client.post("/predict", json=body)
        assert response.json is not None
        return response.json["results"][0]["result"]


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


def test_an_opened_task_is_ready_for_its_first_click(backend: Backend) -> None:
    backend.open(1, 40)
    wait_until(lambda: backend.engine.encoded == [40])
    assert backend.click(1, 40)
    assert backend.engine.encoded == [40]


def test_the_newest_first_and_the_oldest_dropped(backend: Backend) -> None:
    backend.hold()
    backend.open(1, 1)
    wait_until(lambda: backend.started)
    for n in range(2, 30):
        backend.open(n, n)
    for _ in range(20):
        backend.encoding.release()
    wait_until(lambda: len(backend.engine.encoded) == 17)
    assert backend.engine.encoded == [1, *range(29, 13, -1)]


def test_a_click_does_not_wait_for_prefetches(backend: Backend) -> None:
    backend.hold()
    backend.open(1, 1)
    wait_until(lambda: backend.started)
    backend.open(2, 2)
    clicked = threading.Thread(target=lambda: backend.click(3, 3))
    clicked.start()
    wait_until(lambda: len(backend.started) == 2)  # the click's encode, beside the prefetch's
    assert backend.engine.encoded == []
    backend.encoding.release(3)
    clicked.join()
    wait_until(lambda: len(backend.engine.encoded) == 3)
    assert backend.engine.encoded[-1] == 2


def test_a_click_joins_the_prefetch_of_its_image(backend: Backend) -> None:
    backend.hold()
    backend.open(1, 1)
    wait_until(lambda: backend.started)
    clicked = threading.Thread(target=lambda: backend.click(1, 1))
    clicked.start()
    time.sleep(0.02)
    backend.encoding.release(2)
    clicked.join()
    assert backend.engine.encoded == [1]


def test_a_batch_is_not_prefetched(backend: Backend) -> None:
    body = shades.click(1, url(1))
    body["tasks"] = [{"id": n, "data": {"image": url(n)}} for n in range(3)]
    assert backend.client.post("/predict", json=body).json == {"results": [[], [], []]}
    assert len(backend.services.images.prefetcher) == 0
    assert backend.engine.encoded == []


def test_a_task_that_cannot_be_prefetched_is_no_error(backend: Backend) -> None:
    for image in ("", "s3://bucket/key", "data:image/png;base64,AAAA"):
        response = backend.client.post("/predict", json=shades.click(1, image))
        assert response.json == {"results": [[]]}
    assert backend.services.state.refusals() == []
    backend.open(2, 2)
    wait_until(lambda: backend.engine.encoded == [2])


def test_jobs_of_one_name_run_once() -> None:
    prefetcher, gate, ran = Prefetcher(4), threading.Event(), list[int]()
    prefetcher.ask("first", gate.wait)
    wait_until(lambda: len(prefetcher) == 0)
    for n in range(3):
        prefetcher.ask("same", partial(ran.append, n))
    gate.set()
    wait_until(lambda: ran)
    assert ran == [2]


def test_a_job_behind_the_others_runs_last() -> None:
    prefetcher, gate, ran = Prefetcher(4), threading.Event(), list[str]()
    prefetcher.ask("first", gate.wait)
    wait_until(lambda: len(prefetcher) == 0)
    for name in ("next", "after that"):
        prefetcher.ask(name, partial(ran.append, name), behind=True)
    for name in ("opened", "opened last"):
        prefetcher.ask(name, partial(ran.append, name))
    prefetcher.ask("opened", partial(ran.append, "opened, but behind"), behind=True)
    gate.set()
    wait_until(lambda: len(ran) == 4)
    assert ran == ["opened last", "opened", "next", "after that"]


def test_slots_go_to_clicks_in_order() -> None:
    schedule, order = Schedule(encodes=1, decodes=1), list[int]()

    def decode(n: int) -> None:
        with schedule.decode():
            order.append(n)

    threads = [threading.Thread(target=decode, args=(n,)) for n in range(5)]

    def wait_for_a_gap() -> None:
        schedule.wait_for_a_gap()
        order.append(-1)

    gap = threading.Thread(target=wait_for_a_gap)
    with schedule.decode():
        gap.start()
        for n, thread in enumerate(threads, start=1):
            thread.start()
            wait_until(partial(lambda n: schedule.clicks == n + 1, n))
    for thread in (*threads, gap):
        thread.join()
    assert order == [0, 1, 2, 3, 4, -1]
