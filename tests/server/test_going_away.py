"""A client that goes away stops its own work, and nobody else's."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sam_backend.embeddings.single_flight import SingleFlight
from sam_backend.shared import stale
from tests.held import running, wait_until
from tests.needs import needs_weights


@needs_weights
def test_work_that_was_not_begun_is_not_done(tmp_path: Path) -> None:
    with running(tmp_path) as held, ThreadPoolExecutor(2) as pool:
        first = pool.submit(held.click, 1, 10)
        wait_until(lambda: held.done("encode") == ["10"])
        gone = held.send(2, 20)
        wait_until(lambda: held.queue("encode") == 2)
        gone.close()
        held.go()
        assert first.result().json()["results"][0]["result"]
        wait_until(lambda: held.metric("sam_stale_total") == 1)
        assert held.done("encode") == ["10"]
        assert held.errors() == []


@needs_weights
def test_an_encode_that_was_begun_is_kept_and_its_click_is_not_decoded(tmp_path: Path) -> None:
    with running(tmp_path) as held:
        gone = held.send(1, 10)
        wait_until(lambda: held.done("encode") == ["10"])
        gone.close()
        held.go()
        wait_until(lambda: held.metric("sam_stale_total") == 1)
        assert held.done("decode") == []
        assert held.click(2, 10).json()["results"][0]["result"]
        assert held.done("encode") == ["10"]


@needs_weights
def test_a_click_that_waits_for_the_same_image_takes_over(tmp_path: Path) -> None:
    with running(tmp_path) as held, ThreadPoolExecutor(2) as pool:
        first = pool.submit(held.click, 1, 10)
        wait_until(lambda: held.done("encode") == ["10"])
        gone = held.send(2, 20)
        wait_until(lambda: held.queue("encode") == 2)
        other = pool.submit(held.click, 3, 20)
        wait_until(lambda: held.queue("clicks") == 3)
        gone.close()
        held.go()
        for click in (first, other):
            assert click.result().json()["results"][0]["result"]
        assert sorted(held.done("encode")) == ["10", "20"]


def test_without_a_connection_to_look_at_nobody_is_gone() -> None:
    stale.check_connection()
    with stale.asked_on(None):
        stale.check()


def test_a_connection_that_is_open_closed_or_broken() -> None:
    here, there = socket.socketpair()
    with here, stale.asked_on(here):
        stale.check()
        there.sendall(b"the next request, say")
        stale.check()
        here.recv(100)
        there.close()
        with pytest.raises(stale.Stale):
            stale.check()
    with stale.asked_on(here), pytest.raises(stale.Stale):
        stale.check()


def test_one_that_gives_up_does_so_for_itself_alone() -> None:
    flights: SingleFlight[str] = SingleFlight()
    here, there = socket.socketpair()
    with here, there, ThreadPoolExecutor(4) as pool:

        def give_up() -> str:
            here.recv(1)
            raise stale.Stale

        gone = pool.submit(flights.do, "image", give_up)
        wait_until(gone.running)
        others = [pool.submit(flights.do, "image", lambda: "made") for _ in range(3)]
        there.sendall(b"x")
        assert [other.result(30) for other in others] == ["made"] * 3
        with pytest.raises(stale.Stale):
            gone.result(30)
