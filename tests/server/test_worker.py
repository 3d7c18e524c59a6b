"""The worker's deadlines and limits, each with a short time, over loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request
from gunicorn.config import Config
from gunicorn.glogging import Logger

from sam_backend.server import admission
from sam_backend.server import worker as worker_module
from sam_backend.server.worker import Worker
from tests.held import LIMIT_S, wait_until

ANSWER = b"x" * 100


class InThread(Worker):
    """The worker in a thread of the test's, where signals cannot be had."""

    def init_signals(self) -> None:
        pass

    def load_wsgi(self) -> None:
        self.wsgi = self.app


class Served:
    def __init__(self, worker: Worker, port: int, stack: contextlib.ExitStack) -> None:
        self.worker = worker
        self._stack = stack
        self._port = port
        self.seen = 0

    def connect(self, data: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=LIMIT_S)
        self._stack.enter_context(connection)
        connection.sendall(data)
        return connection

    def ask(self, data: bytes) -> bytes:
        connection = self.connect(data)
        with connection, connection.makefile("rb") as answer:
            return answer.read()

    def health(self) -> bytes:
        return self.ask(b"GET /health HTTP/1.1\r\nHost: s\r\n\r\n")[:12]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """A worker in a thread, with two threads for requests, and times of a test's own."""
    with contextlib.ExitStack() as stack:

        def start(
            answer: bytes = ANSWER, password: tuple[str, str] | None = None, **times: float
        ) -> Served:
            app = Flask("small")
            app.config["MAX_CONTENT_LENGTH"] = 1 << 20
            app.config["BASIC_AUTH"] = password

            def view() -> Response:
                made.seen += 1
                return Response(answer + b"%d" % len(request.get_data()))

            app.add_url_rule("/predict", "predict", view, methods=["POST"])
            app.add_url_rule("/webhook", "webhook", view, methods=["POST"])
            app.add_url_rule("/health", "health", view)
            config = Config()
            for name, value in {"threads": 2, "keepalive": 0, "worker_connections": 2000}.items():
                config.set(name, value)
            for name, seconds in times.items():
                monkeypatch.setattr(Worker, name, seconds)
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1000))
            log: Any = Logger(config)
            worker = InThread(1, os.getppid(), [listener], app, 30, config, log)
            made = Served(worker, listener.getsockname()[1], stack)
            thread = threading.Thread(target=worker.init_process)
            thread.start()

            def stop() -> None:
                worker.handle_exit(None, None)
                thread.join(LIMIT_S)
                worker.tmp.close()
                assert not thread.is_alive()

            stack.callback(stop)
            return made

        yield start


HEAD = b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Length: 1000\r\n\r\n"


def drip(connection: socket.socket, drop: bytes, seconds: float = LIMIT_S) -> bytes:
    """Sends a drop now and then until there is an answer, and gives the answer."""
    connection.settimeout(0.2)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            return connection.recv(1000)
        except TimeoutError:
            connection.sendall(drop)
    raise AssertionError("it may drip for ever")


def test_headers_that_never_end(served: Callable[..., Served]) -> None:
    server = served(head_s=0.5)
    assert b" 408 " in drip(server.connect(b"GET / HTTP/1.1\r\nX: "), b"a")


def test_a_body_that_never_ends(served: Callable[..., Served]) -> None:
    server = served(body_s=0.5)
    answer = drip(server.connect(HEAD), b" ")
    assert b" 408 " in answer
    assert b"did not come in time" in answer
    assert server.seen == 0, "the app never heard of it"


def test_a_client_that_falls_silent(served: Callable[..., Served]) -> None:
    server = served(silence_s=0.5)
    assert b" 408 " in server.ask(HEAD + b"{")
    assert server.ask(b"") == b"", "it said nothing, and hears nothing"


def test_a_client_that_does_not_read_takes_no_thread(served: Callable[..., Served]) -> None:
    server = served(answer=b"x" * (32 << 20), answer_s=1.0)
    post = b"POST /predict HTTP/1.1\r\nHost: s\r\n\r\n"
    for _ in range(6):
        server.connect(post)
    wait_until(lambda: server.seen == 6)
    assert server.health() == b"HTTP/1.1 200"
    wait_until(lambda: not server.worker.nr_conns)  # and it is let go


def test_the_oldest_of_too_many_clients_makes_room(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MOST_WAITING", 5)
    server = served()
    for _ in range(20):
        server.connect(HEAD)
    assert server.health() == b"HTTP/1.1 200"
    assert server.worker.nr_conns <= 6


def test_a_client_that_was_pushed_out_in_the_same_round_is_closed_once(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MOST_WAITING", 5)
    server = served(linger_s=0.1)
    for _ in range(30):
        for connection in [server.connect(HEAD) for _ in range(8)]:
            with contextlib.suppress(OSError):
                connection.sendall(b" " * 10)
    assert server.health() == b"HTTP/1.1 200"
    assert 0 <= server.worker.nr_conns <= 6


def test_all_bodies_together_are_limited_and_the_oldest_goes(
    served: Callable[..., Served],
) -> None:
    server = served()
    megabyte = b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Length: 1048576\r\n\r\n"
    slow = [server.connect(megabyte + b" " * 1_000_000) for _ in range(4)]
    assert b" 200 " in server.ask(megabyte + b" " * (1 << 20))[:20]
    assert b" 503 " in slow[0].recv(1000)


def test_a_small_request_does_not_push_out_a_large_picture(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share memory, but each kind of request has a limit of its own."""
    monkeypatch.setattr(admission, "MAX_OTHER_BODY_MB", 1)
    server = served(silence_s=LIMIT_S, body_s=LIMIT_S)
    server.worker.app.config["MAX_CONTENT_LENGTH"] = 4 << 20
    large = b"POST /v1/embed HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n" % (4 << 20)
    slow = server.connect(large + b" " * (3 << 20))
    wait_until(lambda: server.worker._held.total() >= 3 << 20)
    small = b"POST /setup HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\n{}"
    assert b" 404 " in server.ask(small)[:20]
    slow.sendall(b" " * (1 << 20))
    assert b" 404 " in slow.recv(1000)[:20], "there is no such route in this app"


def test_webhooks_take_no_room_from_clicks(served: Callable[..., Served]) -> None:
    server = served()
    megabyte = b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Length: 1048576\r\n\r\n"
    slow = server.connect(megabyte + b" " * 1_000_000)
    for _ in range(4):
        server.connect(megabyte.replace(b"predict", b"webhook") + b" " * 1_000_000)
    assert b" 200 " in server.health() + b" "
    slow.sendall(b" " * 48_576)
    assert b" 200 " in slow.recv(1000)


@pytest.mark.parametrize(
    ("credentials", "status"),
    [("", b" 200 "), ("YTpi", b" 200 "), ("\xe9", b" 200 "), ("c2FtOnNlY3JldA==", b" 408 ")],
)
def test_a_body_is_read_for_the_right_password_only(
    served: Callable[..., Served], credentials: str, status: bytes
) -> None:
    """With a wrong one, the app is asked before the body is there. It refuses such a request."""
    silence_s = 0.3 if status == b" 408 " else LIMIT_S
    server = served(password=("sam", "secret"), silence_s=silence_s)
    header = f"Authorization: Basic {credentials}\r\nHost".encode("latin-1")
    connection = server.connect(HEAD.replace(b"Host", header) + b" " * 900)
    assert status in connection.recv(1000)[:20]
    assert server.worker._held.total() == 0


def test_a_connection_carries_one_request(served: Callable[..., Served]) -> None:
    server = served()
    hidden = b"GET /health HTTP/1.1\r\nHost: s\r\n\r\n"
    for first in (
        hidden,
        b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Length: 9999999\r\n\r\n",
        b"POST /nowhere HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /predict HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        answer = server.ask(first + hidden)
        assert answer.count(b"HTTP/1.1") == 1
        assert b"Connection: close" in answer


def test_a_go_ahead_and_then_the_answer(served: Callable[..., Served]) -> None:
    server = served()
    connection = server.connect(HEAD.replace(b"Host", b"Expect: 100-continue\r\nHost"))
    assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(b" " * 1000)
    assert b" 200 " in connection.recv(1000)


def test_a_client_that_is_not_ready_does_not_delay_the_stop(
    served: Callable[..., Served],
) -> None:
    server = served(silence_at_stop_s=0.1, silence_s=10 * LIMIT_S, body_s=10 * LIMIT_S)
    server.connect(HEAD)
    server.health()
    server.worker.handle_exit(None, None)
    wait_until(lambda: not server.worker.nr_conns)


def test_a_client_that_asks_for_a_go_ahead_and_does_not_wait_for_it(
    served: Callable[..., Served],
) -> None:
    server = served()
    expecting = HEAD.replace(b"Host", b"Expect: 100-continue\r\nHost")
    assert server.ask(expecting + b" " * 1000).startswith(b"HTTP/1.1 200 ")
    too_long = expecting.replace(b"1000", b"9999999")
    assert server.ask(too_long).startswith(b"HTTP/1.1 413 ")


def test_a_request_without_a_body_needs_no_room(served: Callable[..., Served]) -> None:
    server = served()
    server.worker._held["others"] = 1 << 40
    assert server.health().endswith(b" 200")


def test_the_memory_of_large_bodies_is_given_back(
    served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = threading.Event()
    monkeypatch.setattr("sam_backend.server.worker.memory.give_back", given.set)
    monkeypatch.setattr("sam_backend.server.worker.LARGE_BODY", 1000)
    here = served(give_back_s=0.0)
    small, large = (
        b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%b" % (size, bytes(size))
        for size in (1000, 1001)
    )
    assert here.ask(small).endswith(b"1000")
    assert not given.wait(2.5), "it is looked for once a second"
    assert here.ask(large).endswith(b"1001")
    assert given.wait(LIMIT_S)
