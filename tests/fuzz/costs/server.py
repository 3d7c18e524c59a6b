"""The back end in processes of its own, and what an input costs there."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sam_backend.shared.click_budget import DECODES_A_REQUEST
from tests import fakes
from tests.fuzz.costs.family import (
    PASSWORD,
    SIZE,
    USER,
    click,
    numbers,
    opened,
    request,
    task,
)
from tests.needs import REPOSITORY

MOST_SECONDS = 2.0  # on a CPU as fast as the one in SECURITY.md, and longer on a slower one
MOST_MB = 300.0
# Of a click on a new image with as many new masks as one may have, on that CPU when it is quiet.
_CLICK_SECONDS = 0.6
# An input that is far beyond the limits is stopped, so that the others get their turn.
_STOP_AT = 3.0
_SILENCE_S = 600.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of one input: processor time and memory of the server, and the status of its answer."""

    seconds: float
    megabytes: float
    status: int | None  # None: the connection ended without an answer
    most_seconds: float = MOST_SECONDS  # for this machine
    is_stopped: bool = False
    has_crashed: bool = False

    def fault(self) -> str | None:
        """What is wrong with it, in one line."""
        more = "over " if self.is_stopped else ""
        if self.seconds > self.most_seconds:
            most = f"{self.most_seconds:.2f} are the most"
            return f"{more}{self.seconds:.2f} s of processor time, {most}"
        if self.megabytes > MOST_MB:
            return f"{more}{self.megabytes:.0f} MB of memory, {MOST_MB:g} are the most"
        if self.has_crashed:
            return "a process of the server ended"
        if self.is_stopped:
            return f"no answer within {_SILENCE_S:g} s"
        if (self.status or 0) >= 500 and self.status != HTTPStatus.NOT_IMPLEMENTED:
            return f"HTTP {self.status}"
        return None


class Server:
    """`python _wsgi.py` with MobileSAM, its settings as they are by default. Started as needed."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._most_seconds = MOST_SECONDS

    def cost(
        self, requests: Iterable[bytes], *, goes_on: bool = False, cut_off: bool = False
    ) -> Cost:
        """What these requests cost, one after the other, with all that they set off."""
        root = self._running()
        before = _usage(root)
        for pid in before.resident:
            with contextlib.suppress(OSError):  # it has just ended
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        status, is_stopped = None, False
        for content in requests:
            status, is_stopped = self._ask(content, before, cut_off=cut_off)
            if is_stopped:
                break
        if not is_stopped:
            is_stopped = not self._settle(0.3 if goes_on else 0.03, before)
        after = _usage(root)
        cost = Cost(
            after.seconds - before.seconds,
            before.grown_to(after),
            status,
            self._most_seconds,
            is_stopped,
            has_crashed=not set(before.resident) <= set(after.resident),
        )
        if cost.fault():
            self.stop()  # what it left behind must not count for the next one
        return cost

    def stop(self) -> None:
        if self._process is not None:
            for pid in reversed(_family_of(self._process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(300)
        self._process = None

    def _running(self) -> int:
        if self._process is None or self._process.poll() is not None:
            self._start()
            self._warm_up()
            # What runs beside it makes a CPU slow, too. A fault ends the server, so this is
            # measured once more before the input is tried again.
            clicks = [self._seconds_of_a_click() for _ in range(3)]
            slowness = statistics.median(clicks) / _CLICK_SECONDS
            self._most_seconds = MOST_SECONDS * max(1.0, slowness)
        assert self._process is not None
        return self._process.pid

    def _start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        environ = {
            **os.environ,
            "HOST": "127.0.0.1",
            "PORT": str(self._port),
            "MODEL_DIR": str(self._folder),
            "MOBILESAM_CHECKPOINT": str(REPOSITORY / "models" / "mobile_sam"),
            "BASIC_AUTH_USER": USER,
            "BASIC_AUTH_PASS": PASSWORD,
            "LOG_LEVEL": "ERROR",
            "CACHE_MB": "64",  # a full cache is no cost of the input that filled it
            **self._settings,
        }
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "_wsgi.py"], cwd=REPOSITORY, env=environ, stdout=log, stderr=log
            )
        for _ in range(6000):
            with contextlib.suppress(OSError), self._connected():
                return
            assert self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.1)
        raise AssertionError("the server did not start")

    def _warm_up(self) -> None:
        """What every server needs once, by the forms of pictures and kinds of prompts."""
        assert self._process is not None
        start = _usage(self._process.pid)
        for width, height in ((400, 300), (300, 400), (300, 300), (1500, 200)):
            size: dict[str, Any] = {"original_width": width, "original_height": height}
            tasks = [task(fakes.inline(fakes.picture(width, height)))]
            points = [fakes.keypoint(f"p{n}", 20 + n, 50, **size) for n in range(2)]
            boxes = [fakes.rectangle("r", 10, 10, 50, 50, **size)]
            for content in (opened(tasks), click(tasks, points), click(tasks, boxes)):
                self._ask(content, start, cut_off=False, may_cost=1000)
        for route in ("/", "/metrics", "/openapi.json"):
            self._ask(request(route, method="GET"), start, cut_off=False, may_cost=1000)
        self._settle(0.3, start, may_cost=1000)

    def _seconds_of_a_click(self) -> float:
        """Processor time of a click on a new image with as many new masks as one may have."""
        assert self._process is not None
        new = next(numbers)
        image = fakes.inline(fakes.picture() + new.to_bytes(8, "big"))
        boxes = [
            fakes.rectangle(f"r{n}", 3 * n, 20, 20, 50 + new / 1e4, **SIZE)
            for n in range(DECODES_A_REQUEST)
        ]
        start = _usage(self._process.pid)
        self._ask(click([task(image)], boxes), start, cut_off=False, may_cost=1000)
        self._settle(0.03, start, may_cost=1000)
        return _usage(self._process.pid).seconds - start.seconds

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), 5)

    def _ask(
        self, content: bytes, before: _Usage, *, cut_off: bool, may_cost: float = _STOP_AT
    ) -> tuple[int | None, bool]:
        """The status of the answer, and whether it was stopped for what it costs."""
        answer, rest = bytearray(), memoryview(content)
        deadline = time.monotonic() + _SILENCE_S
        with self._connected() as connection:
            connection.setblocking(False)
            while time.monotonic() < deadline:
                wanted = [connection] if rest else []
                readable, writable, _ = select.select([connection], wanted, [], 0.25)
                try:
                    if readable:
                        part = connection.recv(1 << 16)
                        if not part:
                            break
                        answer += part
                    elif writable:
                        rest = self._send(connection, rest)
                        if not rest and cut_off:
                            connection.shutdown(socket.SHUT_WR)
                    elif self._is_too_much(before, may_cost):
                        return None, True
                except BlockingIOError:
                    continue
                except OSError:
                    break
            else:
                return None, True
        word = bytes(answer[9:12])
        return (int(word) if word.isdigit() else None), False

    @staticmethod
    def _send(connection: socket.socket, content: memoryview) -> memoryview:
        """What is left to send: nothing if the server wants no more."""
        try:
            return content[connection.send(content) :]
        except (BrokenPipeError, ConnectionResetError):
            return memoryview(b"")

    def _settle(self, quiet_s: float, before: _Usage, may_cost: float = _STOP_AT) -> bool:
        """Waits until the server does nothing more; False if that costs too much."""
        assert self._process is not None
        spent = -1.0
        while (now := _usage(self._process.pid).seconds) != spent:
            spent = now
            if self._is_too_much(before, may_cost):
                return False
            time.sleep(quiet_s)
        return True

    def _is_too_much(self, before: _Usage, may_cost: float) -> bool:
        assert self._process is not None
        now = _usage(self._process.pid)
        return (
            now.seconds - before.seconds > may_cost * self._most_seconds
            or before.grown_to(now) > may_cost * MOST_MB
        )


@dataclass(frozen=True)
class _Usage:
    """Of a process and its children."""

    seconds: float
    resident: dict[int, float]  # MB now, by process
    highest: dict[int, float]  # MB at most since it was last reset

    def grown_to(self, later: _Usage) -> float:
        return sum(
            max(0.0, highest - self.resident.get(pid, 0.0))
            for pid, highest in later.highest.items()
        )


def _usage(root: int) -> _Usage:
    seconds, resident, highest = 0.0, dict[int, float](), dict[int, float]()
    for pid in _family_of(root):
        with contextlib.suppress(OSError, KeyError):  # it has just ended
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            numbers = dict(line.split(":", 1) for line in lines)
            seconds += sum(map(int, fields[11:15])) / _TICKS  # with children that ended
            resident[pid] = int(numbers["VmRSS"].split()[0]) / 1024
            highest[pid] = int(numbers["VmHWM"].split()[0]) / 1024
    return _Usage(seconds, resident, highest)


def _family_of(root: int) -> list[int]:
    """A process and all that it started, and what those did."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found
