"""A Redis server on loopback that is stopped, paused, filled and damaged at will."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import redis


class RedisServer:
    """One server process on a port of its own. It keeps nothing on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(3000):  # a minute, for a busy machine
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError("redis-server does not start")

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(60)

    def hang(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """With nothing in it."""
        self.kill()
        self.start()

    def limit(self, memory: str) -> None:
        """The memory that it may use: "1mb" is full at once, "0" is no limit."""
        with self.client() as client:
            client.config_set("maxmemory", memory)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, protocol=2)

    def values(self, kind: str) -> dict[bytes, bytes]:
        """All strings of a kind, by key."""
        with self.client() as client:
            keys = list(client.scan_iter(f"*:{kind}:*"))
            return {key: bytes(client.get(key) or b"") for key in keys}

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.go_on()
            self.kill()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
