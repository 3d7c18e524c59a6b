"""More clicks than can be answered, and clients that fall silent: the server stays there."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.held import LIMIT_S, Held, get, running, wait_until
from tests.needs import needs_weights

pytestmark = needs_weights

JSON = {"Content-Type": "application/json"}
ADMITTED = 10  # with THREADS=2: two are served, eight wait


def test_the_next_click_is_refused_at_once_and_all_others_are_answered(tmp_path: Path) -> None:
    with running(tmp_path, THREADS="2") as held, ThreadPoolExecutor(ADMITTED) as pool:
        clicks = [pool.submit(held.click, n, n) for n in range(1, ADMITTED + 1)]
        wait_until(lambda: held.queue("clicks") == ADMITTED)

        refused = [held.click(99, 99) for _ in range(20)]
        assert not any(click.done() for click in clicks), "nobody waited for those"
        assert {response.status_code for response in refused} == {503}
        assert {response.headers["Retry-After"] for response in refused} == {"2"}
        assert "too busy: 2 requests are being answered and 8 wait" in refused[0].json()["error"]

        assert get(f"{held.url}/health").ok
        for route, content in (("setup", {"project": "1.1"}), ("webhook", {"action": "X"})):
            assert requests.post(f"{held.url}/{route}", json=content, timeout=LIMIT_S).ok
        assert held.metric('sam_refusals_total{cause="busy"}') == 20
        assert ("clicks", "busy") in [(e["where"], e["cause"]) for e in held.errors()]

        held.go()
        answers = [click.result() for click in clicks]
        assert all(answer.json()["results"][0]["result"] for answer in answers)
        assert held.click(99, 99).json()["results"][0]["result"]


def test_a_large_click_is_refused_while_too_many_wait(tmp_path: Path) -> None:
    with running(tmp_path, THREADS="1") as held, ThreadPoolExecutor(5) as pool:
        clicks = [pool.submit(held.click, n, n) for n in range(1, 6)]
        wait_until(lambda: held.queue("clicks") == 5)
        large = b"[" + b" " * (20 << 20) + b"]"
        refused = requests.post(f"{held.url}/predict", large, headers=JSON, timeout=LIMIT_S)
        assert refused.status_code == 503
        held.go()
        assert all(click.result().ok for click in clicks)


def test_a_killed_worker_leaves_no_queue_behind(tmp_path: Path) -> None:
    with running(tmp_path, WORKERS="2") as held, ThreadPoolExecutor(2) as pool:
        clicks = [pool.submit(held.click, n, n) for n in (1, 2)]
        wait_until(lambda: held.queue("clicks") == 2)
        for worker in held.workers():
            os.kill(worker, signal.SIGKILL)
        for click in clicks:
            assert click.exception()
        wait_until(lambda: held.is_up() and held.queue("clicks") == 0)


def test_clients_that_say_nothing_take_no_thread(tmp_path: Path) -> None:
    with running(tmp_path, THREADS="1") as held:
        silent = [socket.create_connection(("127.0.0.1", held.port)) for _ in range(200)]
        assert get(f"{held.url}/health").ok
        for connection in silent:
            connection.close()


def test_clients_that_stop_in_the_middle_are_let_go(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heads = [b"POST /predict HTTP/1.1\r\nHost: s", b"POST /webhook HTTP/1.1\r\nHost: s"]
    body = b"\r\nContent-Length: 100\r\n\r\n{"
    with running(tmp_path, THREADS="2") as held:
        stopped = [_start(held, head + more) for head in heads for more in (b"", body) * 2]
        assert get(f"{held.url}/health").ok
        answers = [_rest(connection) for connection in stopped]
        held.go()
        assert held.click(1, 1).json()["results"][0]["result"]
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}
    assert "Traceback" not in "".join(capfd.readouterr())


def _start(held: Held, beginning: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", held.port))
    connection.sendall(beginning)
    return connection


def _rest(connection: socket.socket) -> bytes:
    connection.settimeout(LIMIT_S)
    with connection, connection.makefile("rb") as answer:
        return answer.read()
