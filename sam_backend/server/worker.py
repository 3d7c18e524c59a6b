"""A gunicorn worker in which a thread gets only complete requests and never waits for a client.

One thread reads all requests and sends the rest of all answers, at the pace of each client and
within deadlines. A connection carries one request, so that no request can hide behind another.

It is written by hand: in gunicorn's gthread worker, a thread waits for the rest of each request, so
eight slow clients would stop all clicks.
"""

from __future__ import annotations

import errno
import gc
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any

import orjson
from gunicorn.workers.gthread import ThreadWorker

from sam_backend import memory, metrics
from sam_backend.server import credentials
from sam_backend.server.admission import (
    RETRY_AFTER_S,
    body_limit,
    memory_of,
    share_of_memory,
)
from sam_backend.server.connection import Connection
from sam_backend.server.programs import problems
from sam_backend.server.receiving import Incoming, Unusable

READY = "/ready"
# The limit of clients that a worker waits for. A new client displaces the oldest one.
MOST_WAITING = 512
_AT_ONCE = 1 << 18  # bytes
LARGE_BODY = 4 << 20
_LISTENING_ERRORS = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)


_Step = Callable[[Connection], None]
_IsLate = Callable[[Connection, float], bool]


class Worker(ThreadWorker):  # type: ignore[misc]
    """Reads requests, gives complete ones to threads, and sends the answers."""

    head_s = 10.0  # for all headers
    body_s = 60.0  # for the whole body
    answer_s = 60.0  # to read the whole answer
    silence_s = 10.0  # since the last byte
    silence_at_stop_s = 1.0
    drain_s = 0.0  # after SIGTERM, for a load balancer to notice that this server is not ready
    give_back_s = 5.0
    linger_s = 2.0  # for the client to close first, because unread bytes would cut off the answer

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise SystemExit("sam-backend cannot start: it speaks no TLS. Put a proxy in front")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[Connection, tuple[_Step, _IsLate]] = {}  # oldest first
        self._held = Counter[str]()  # bytes of bodies, by share of memory
        self._scratch = bytearray(_AT_ONCE)
        self._drained: float | None = None  # the time to stop at, after SIGTERM
        self._has_read_much = False
        self._gave_back = 0.0

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """SIGTERM. For `drain_s`, all is answered as before, and /ready says no."""
        if self._drained is None and self.drain_s:
            self._drained = time.monotonic() + self.drain_s
        else:
            super().handle_exit(sig, frame)

    def run(self) -> None:
        # Otherwise, Python would search all objects for cycles during each large body.
        gc.collect()
        gc.freeze()
        super().run()

    def _limit_of(self, request: Any) -> int:
        """How many bytes of a request's body are read: none, if its credentials are wrong."""
        config = self.wsgi.config
        sent = [value for name, value in request.headers if name == "AUTHORIZATION"]
        header = ",".join(sent) if sent else None  # as the app gets it
        if not credentials.are_enough(request.path, header, config.get("BASIC_AUTH")):
            return 0
        return body_limit(request.path, config["MAX_CONTENT_LENGTH"])

    def accept(self, listener: Any) -> None:
        """Accepts a connection."""
        try:
            connection, client = listener.accept()
        except OSError as error:
            if error.errno not in _LISTENING_ERRORS:  # for example, too many open files
                self.log.warning("a connection could not be accepted: %s", error)
                self._make_room()
            return
        connection.setblocking(False)
        incoming = Incoming(self.cfg, client, self._limit_of)
        conn = Connection(connection, client, listener.getsockname(), incoming)
        self.nr_conns += 1
        if len(self._waiting) >= MOST_WAITING:
            self._make_room()
        self._wait(conn, selectors.EVENT_READ, self._receive, self._is_request_late)

    def murder_pending(self) -> None:
        """Called once a second: drops clients that take too long, and memory that nobody uses."""
        now = time.monotonic()
        if self._drained is not None and now > self._drained:
            self.alive = False
        self._give_memory_back(now)
        for conn, (_, is_late) in list(self._waiting.items()):
            if is_late(conn, now):
                self._give_up(conn)

    def _give_memory_back(self, now: float) -> None:
        """C's allocator keeps hundreds of megabytes of what large bodies took while they were read.

        Not after each one: looking for it takes some milliseconds, and the next body needs it too.
        """
        if self._has_read_much and now - self._gave_back > self.give_back_s:
            self._has_read_much, self._gave_back = False, now
            self.tpool.submit(memory.give_back)

    def _wait(self, conn: Connection, event: int, step: _Step, is_late: _IsLate) -> None:
        self._waiting[conn] = step, is_late
        self.poller.register(conn.connection, event, lambda _: self._go_on(conn, step))

    def _go_on(self, conn: Connection, step: _Step) -> None:
        # Another client may have displaced this one in the same round.
        if conn in self._waiting and self._waiting[conn][0] == step:
            self._attempt(step, conn)

    def _wait_no_more(self, conn: Connection) -> None:
        self.poller.unregister(conn.connection)
        del self._waiting[conn]

    def _attempt(self, step: _Step, conn: Connection) -> None:
        """An error with one client must not affect another."""
        try:
            step(conn)
        except OSError:
            self._close(conn)
        except Exception:
            self.log.exception("a connection is closed after an error")
            self._close(conn)

    def _receive(self, conn: Connection) -> None:
        try:
            count = conn.connection.recv_into(self._scratch)
        except BlockingIOError:
            return
        if not count:
            self._close(conn)
            return
        conn.heard = time.monotonic()
        was_head = conn.incoming.request is None
        try:
            conn.incoming.feed(memoryview(self._scratch)[:count])
        except Unusable as error:
            self.log.warning("Invalid request from %s: %r", conn.client[0], str(error))
            self._refuse(conn, error.status, str(error), "malformed")
            return
        if was_head and conn.incoming.request is not None:
            conn.begun = conn.heard  # of the body
        if conn.incoming.wants_100_continue():
            conn.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            conn.sock.is_sent()
        self._charge(conn, conn.incoming.held)
        if self._has_room_for(conn) and conn.incoming.is_complete:
            if self._drained is not None and conn.incoming.request.path == READY:
                self._refuse(conn, HTTPStatus.SERVICE_UNAVAILABLE, "the server stops", "stopping")
                return
            self._wait_no_more(conn)
            self.enqueue_req(conn)

    def _charge(self, conn: Connection, held: int) -> None:
        request = conn.incoming.request
        if request is not None:  # the largest heads of all clients are small
            self._held[share_of_memory(request.path)] += held - conn.charged
            conn.charged = held

    def _has_room_for(self, conn: Connection) -> bool:
        """Makes room for more bytes by refusing the clients that have been sending for longest."""
        if not conn.charged:
            return True
        share = share_of_memory(conn.incoming.request.path)
        most = memory_of(share, self.wsgi.config["MAX_CONTENT_LENGTH"])
        while self._held[share] > most:
            oldest = next(
                other
                for other in self._waiting
                if other.charged and share_of_memory(other.incoming.request.path) == share
            )
            self._refuse(oldest, HTTPStatus.SERVICE_UNAVAILABLE, "too many bytes at once", "busy")
            if oldest is conn:
                return False
        return True

    def _make_room(self) -> None:
        if self._waiting:
            oldest = next(iter(self._waiting))
            self._give_up(oldest)
            if oldest in self._waiting:  # for the answer
                self._close(oldest)

    def _is_request_late(self, conn: Connection, now: float) -> bool:
        silence_s = self.silence_s if self.alive else self.silence_at_stop_s
        whole_s = self.head_s if conn.incoming.request is None else self.body_s
        return now - conn.heard > silence_s or now - conn.begun > whole_s

    def _give_up(self, conn: Connection) -> None:
        if conn.is_answered or (conn.incoming.request is None and not conn.incoming.held):
            self._close(conn)
            return
        message = "the rest of the request did not come in time"
        self._refuse(conn, HTTPStatus.REQUEST_TIMEOUT, message, "slow")

    def _refuse(self, conn: Connection, status: HTTPStatus, message: str, cause: str) -> None:
        """Answers without the app and without a thread."""
        metrics.REFUSALS.labels(cause).inc()
        request = conn.incoming.request
        if request is not None and problems.has_problems(request.path):
            kind, body = problems.MIMETYPE, problems.content(status, message)
        else:
            kind, body = "application/json", orjson.dumps({"error": message})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        )
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            head += f"Retry-After: {RETRY_AFTER_S}\r\n"
        self._wait_no_more(conn)
        conn.sock.put(head.encode() + b"\r\n" + body)
        self._attempt(self._send, conn)

    def handle(self, conn: Connection) -> None:
        """Runs in a thread: calls the app, and sends as much as the client takes at once."""
        try:
            self.handle_request(conn.incoming.request, conn)
        except Exception:
            self.log.exception("a request could not be answered")
            conn.sock.put(b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\n")
        try:
            conn.sock.is_sent()
        except OSError:
            conn.sock.put(b"")
        self._has_read_much |= conn.charged > LARGE_BODY

    def finish_request(self, conn: Connection, _done: Future[None]) -> None:
        """Runs in the reading thread, after the app's thread is done."""
        conn.incoming.request.body.close()
        self._attempt(self._send, conn)

    def _send(self, conn: Connection) -> None:
        self._charge(conn, 0)
        conn.is_answered = True
        conn.begun = time.monotonic()
        if conn.sock.is_sent():
            self._linger(conn)
        else:
            self._wait(conn, selectors.EVENT_WRITE, self._send_rest, self._is_reader_late)

    def _send_rest(self, conn: Connection) -> None:
        if conn.sock.is_sent():
            self._wait_no_more(conn)
            self._linger(conn)

    def _linger(self, conn: Connection) -> None:
        conn.connection.shutdown(socket.SHUT_WR)
        conn.begun = time.monotonic()
        self._wait(conn, selectors.EVENT_READ, self._discard, self._is_lingering_over)

    def _discard(self, conn: Connection) -> None:
        if not conn.connection.recv_into(self._scratch):
            self._close(conn)

    def _is_reader_late(self, conn: Connection, now: float) -> bool:
        return now - conn.begun > self.answer_s

    def _is_lingering_over(self, conn: Connection, now: float) -> bool:
        return now - conn.begun > self.linger_s

    def _close(self, conn: Connection) -> None:
        if conn in self._waiting:
            self._wait_no_more(conn)
        self._charge(conn, 0)
        self.nr_conns -= 1
        conn.connection.close()
