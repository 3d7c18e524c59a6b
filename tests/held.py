"""The back end in a process of its own, on an engine that waits until a test lets it go on."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import requests

from tests import shades
from tests.needs import REPOSITORY, WEIGHTS

# For what should happen. No test waits as long where all is well.
LIMIT_S = 120


def wait_until(happened: Callable[[], object], seconds: float = LIMIT_S) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def get(url: str) -> requests.Response:
    """The answer to a request that should be answered."""
    return requests.get(url, timeout=LIMIT_S)


def wait_until_up(url: str, process: subprocess.Popen[Any]) -> None:
    """Waits until a server answers. Its port is open a moment before a worker is there."""

    def is_up() -> bool:
        assert process.poll() is None, process.communicate()[0]
        try:
            return requests.get(f"{url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    wait_until(is_up)


def body(task: int, brightness: int, *, is_click: bool = True) -> bytes:
    """A click in a task, or that it is opened. Its image is told by its brightness."""
    image = "data:image/png;base64," + base64.b64encode(shades.picture(brightness)).decode()
    prompts = [shades.keypoint(f"p{task}", 50, 50)] if is_click else []
    return orjson.dumps(shades.click(task, image, *prompts))


class Held:
    """A server whose encodes and decodes wait for a file named `go` in its folder."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process = process

    def go(self) -> None:
        (self._folder / "go").touch()

    def hold(self) -> None:
        (self._folder / "go").unlink()

    def done(self, what: str) -> list[str]:
        """The brightness of each image whose "encode" or "decode" was begun."""
        return [path.name.split("-")[1] for path in self._folder.glob(f"{what}-*")]

    def click(self, task: int, brightness: int) -> requests.Response:
        return self._post(body(task, brightness))

    def open(self, task: int, brightness: int) -> requests.Response:
        opened = body(task, brightness, is_click=False)
        return self._post(opened)

    def _post(self, content: bytes) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        return requests.post(f"{self.url}/predict", content, headers=headers, timeout=LIMIT_S)

    def send(self, task: int, brightness: int) -> socket.socket:
        """A click whose answer has not been read yet."""
        content = body(task, brightness)
        head = (
            "POST /predict HTTP/1.1\r\nHost: sam\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(head.encode() + content)
        return connection

    def is_up(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def workers(self) -> list[int]:
        """Process ids."""
        of = self.process.pid
        return list(map(int, Path(f"/proc/{of}/task/{of}/children").read_text().split()))

    def queue(self, name: str) -> float:
        return self.metric(f'sam_queue_length{{queue="{name}"}}')

    def metric(self, name: str) -> float:
        lines = get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def errors(self) -> list[dict[str, Any]]:
        errors: list[dict[str, Any]] = get(self.url).json()["last_errors"]
        return errors


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Held]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {
        **os.environ,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "MODEL_DIR": str(folder),
        "MOBILESAM_CHECKPOINT": str(WEIGHTS),
        "LOG_LEVEL": "WARNING",
        "HELD": str(folder),
        **settings,
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.held:app()"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environ)
    try:
        held = Held(folder, port, process)
        wait_until_up(held.url, process)
        yield held
    finally:
        held.go()
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)


def app() -> object:
    """What gunicorn serves here: the real app."""
    from sam_backend.server.app import create_app  # noqa: PLC0415 (in the server's process only)

    folder, engine = Path(os.environ["HELD"]), HeldEngine()
    services = shades.services(folder, engine, os.environ)
    return create_app(services.settings, services)


class HeldEngine(shades.FakeEngine):
    """Notes what it begins, and waits."""

    def encode(self, image: Any) -> Any:
        self._note("encode", int(image[0, 0, 0]))
        return super().encode(image)

    def decode(self, embedding: Any, *args: Any, **kwargs: Any) -> Any:
        self._note("decode", int(embedding.features[0, 0, 0, 0]))
        return super().decode(embedding, *args, **kwargs)

    def _note(self, what: str, brightness: int) -> None:
        folder = Path(os.environ["HELD"])
        (folder / f"{what}-{brightness}-{time.monotonic_ns()}").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
