"""SIGTERM: clicks that run are answered, and the server is gone soon."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.held import LIMIT_S, Held, get, running, wait_until
from tests.needs import needs_weights

pytestmark = needs_weights


# So long that the server is not gone because of it.
PATIENT = {"GUNICORN_CMD_ARGS": f"--graceful-timeout {10 * LIMIT_S}"}


def stop(held: Held) -> None:
    held.process.send_signal(signal.SIGTERM)


def test_a_click_that_runs_is_answered(tmp_path: Path) -> None:
    with running(tmp_path, THREADS="1", **PATIENT) as held, ThreadPoolExecutor(2) as pool:
        runs, waits = pool.submit(held.click, 1, 10), pool.submit(held.click, 2, 20)
        wait_until(lambda: held.queue("clicks") == 2)
        stop(held)
        time.sleep(1)
        held.go()
        for click in (runs, waits):
            assert click.result().json()["results"][0]["result"]
        assert held.process.wait(LIMIT_S) == 0


def test_a_click_that_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    with running(tmp_path) as held, ThreadPoolExecutor(1) as pool:
        click = pool.submit(held.click, 1, 10)
        wait_until(lambda: held.done("encode"))
        stop(held)
        assert held.process.wait(LIMIT_S) == 0
        with pytest.raises(requests.ConnectionError):
            click.result()


def test_an_image_that_is_encoded_ahead_keeps_nobody(tmp_path: Path) -> None:
    with running(tmp_path, **PATIENT) as held:
        assert held.open(1, 10).json() == {"results": [[]]}
        wait_until(lambda: held.done("encode"))
        stop(held)
        assert held.process.wait(LIMIT_S) == 0


def test_a_load_balancer_hears_that_the_server_stops_while_clicks_go_on(tmp_path: Path) -> None:
    drain = {"DRAIN_SECONDS": str(2 * LIMIT_S)}
    with running(tmp_path, **drain) as held, ThreadPoolExecutor(2) as pool:
        wait_until(lambda: get(f"{held.url}/ready").ok)
        runs = pool.submit(held.click, 1, 10)
        wait_until(lambda: held.queue("clicks") == 1)
        stop(held)
        wait_until(lambda: not get(f"{held.url}/ready").ok)
        refused = get(f"{held.url}/ready")
        assert (refused.status_code, refused.json()) == (503, {"error": "the server stops"})
        assert get(f"{held.url}/health").ok
        comes_late = pool.submit(held.click, 2, 20)
        wait_until(lambda: held.queue("clicks") == 2)
        held.go()
        for click in (runs, comes_late):
            assert click.result().json()["results"][0]["result"]
        for worker in held.workers():  # a second time, which ends the wait
            os.kill(worker, signal.SIGTERM)
        assert held.process.wait(LIMIT_S) == 0
        with pytest.raises(requests.ConnectionError):
            get(f"{held.url}/ready")
