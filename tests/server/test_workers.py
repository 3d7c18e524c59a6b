"""The real engine behind real workers: right under concurrency, one encode an image, kill -9."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

import orjson
import pytest
from PIL import Image, ImageDraw

from sam_backend.shared.click_log import LAST_CLICKS
from tests import shades
from tests.held import LIMIT_S, wait_until, wait_until_up
from tests.needs import REPOSITORY, WEIGHTS, needs_weights

IMAGES = 6
CLICKS = 96
SIDE = 96

pytestmark = needs_weights


def drawing(number: int) -> str:
    """An image with a few shapes, different for each number."""
    dice = random.Random(number)
    image = Image.new("RGB", (SIDE, SIDE - 8 * (number % 3)), (200, 200, 190 + number))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = dice.randrange(60), dice.randrange(50)
        colour = tuple(dice.randrange(200) for _ in range(3))
        pen.ellipse((x, y, x + dice.randrange(15, 40), y + dice.randrange(15, 40)), fill=colour)
    file = BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


DRAWINGS = [drawing(n) for n in range(IMAGES)]


class Server:
    """A back end as users start it, on files of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=LIMIT_S) as response:
            return bytes(response.read())

    def ask(self, number: int, task: int = 0) -> object:
        """The regions' RLEs for the click of that number."""
        dice = random.Random(number)
        image = dice.randrange(IMAGES)
        x, y = dice.uniform(20, 80), dice.uniform(20, 80)
        height = SIDE - 8 * (image % 3)
        body = shades.click(
            task or number, DRAWINGS[image], shades.keypoint(f"p{task}", x, y, SIDE, height)
        )
        request = urllib.request.Request(
            self.url + "/predict", orjson.dumps(body), {"Content-Type": "application/json"}
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=LIMIT_S) as response:
                    result = orjson.loads(response.read())["results"][0]["result"]
                    break
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                        raise
                time.sleep(0.05)  # others were before it
        return [region["value"]["rle"] for region in result]

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


@contextmanager
def server(folder: Path, workers: int) -> Iterator[tuple[Server, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = os.environ | {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKERS": str(workers),
        "MODEL_DIR": str(folder),
        "MOBILESAM_CHECKPOINT": str(WEIGHTS),
        "CACHE_MB": "16",
        "LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen([sys.executable, str(REPOSITORY / "_wsgi.py")], env=environ)
    try:
        running = Server(folder, port)
        wait_until_up(running.url, process)
        yield running, process
    finally:
        process.terminate()
        process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, object]:
    """Each click's answer, asked one after the other."""
    with server(tmp_path_factory.mktemp("alone"), 1) as (running, _):
        return {number: running.ask(number) for number in range(CLICKS // 4)}


@pytest.mark.parametrize("workers", [1, 2])
def test_each_answer_is_its_own(tmp_path: Path, alone: dict[int, object], workers: int) -> None:
    numbers = [random.Random(n).randrange(len(alone)) for n in range(CLICKS)]
    with server(tmp_path, workers) as (running, _), ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(running.ask, numbers, range(1000, 1000 + CLICKS)))
        encodes = running.metric('sam_stage_seconds_count{stage="encode"}')
        last_clicks = orjson.loads(running.get("/"))["last_clicks"]
    assert len(last_clicks) == LAST_CLICKS
    assert [n for n, a in zip(numbers, answers, strict=True) if a != alone[n]] == []
    assert any(answers)
    assert encodes == IMAGES  # across workers too


def test_killed_while_encoding(tmp_path: Path, alone: dict[int, object]) -> None:
    """What was being written is gone, what was written is used, and nothing is stale."""
    with server(tmp_path, 1) as (running, process), ThreadPoolExecutor(4) as pool:
        clicks = [pool.submit(running.ask, number) for number in range(8)]
        wait_until(lambda: any((tmp_path / "cache" / "embeddings").glob("*.embedding")))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):  # it has noticed, and ended
                os.kill(child, signal.SIGKILL)
        for click in clicks:
            click.exception()
    kept = len(list((tmp_path / "cache" / "embeddings").glob("*.embedding")))
    with server(tmp_path, 1) as (running, _):
        assert {n: running.ask(n) for n in alone} == alone
        encodes = running.metric('sam_stage_seconds_count{stage="encode"}')
    assert 0 < encodes <= IMAGES - kept or kept == IMAGES
