"""A Ray cluster of several nodes on loopback, each one started as a person starts it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import REPOSITORY

LIMIT_S = 300


def need_ray() -> None:
    """Skips a test without Ray; REQUIRE_RAY=1 makes that a failure."""
    if importlib.util.find_spec("ray") is None:
        if os.environ.get("REQUIRE_RAY") == "1":
            pytest.fail("ray is not installed")
        pytest.skip("ray is not installed (requirements-ray.txt)")


class Node:
    """One node: its processes are those of its session."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += ["--node-ip-address=127.0.0.1", "--num-cpus=1"]
        command += ["--object-store-memory=100000000", "--disable-usage-stats", *options]
        self._log = (folder / f"{time.monotonic_ns()}.log").open("wb")
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            start_new_session=True,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def processes(self) -> dict[int, str]:
        """The names of the node's processes, by their ids."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                name, fields = (path / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
                state, session = fields.split()[0], int(fields.split()[3])
                if session == self._process.pid and state != "Z":
                    command = (path / "cmdline").read_bytes().split(b"\0")[0]
                    found[int(path.name)] = command.decode() or name
        return found

    def workers(self) -> list[int]:
        """The processes of our actors."""
        return [pid for pid, name in self.processes().items() if "RemoteWorker" in name]

    def kill(self) -> None:
        """As if the machine lost its power."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


class Cluster:
    """A head and other nodes, with one core each."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        # Ray puts sockets into it, whose paths must be short: tmp_path is too long.
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-")))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:{1}".format(*free.getsockname())
        self._stack = stack
        port = self.address.rpartition(":")[2]
        self.head = self._add(
            "--head", f"--port={port}", f"--temp-dir={self.folder}", "--include-dashboard=false"
        )
        deadline = time.monotonic() + LIMIT_S
        while not self.is_up():
            assert time.monotonic() < deadline, "the cluster does not start"
            time.sleep(0.1)

    def add(self) -> Node:
        return self._add(f"--address={self.address}")

    def is_up(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True

    def _add(self, *options: str) -> Node:
        node = Node(self.folder, *options)
        self._stack.callback(node.kill)
        return node


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        yield Cluster(stack)
