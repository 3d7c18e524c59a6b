"""The pictures that measurements send, and the server that has them."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

from tools.folders import SHARED

SIZE = (2241, 1500)


class Pictures:
    """Serves pictures to both back ends, as Label Studio would."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._host = host
        folder.mkdir()
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer((host, 0), handler)

    def add(self, name: str, image: Image.Image) -> str:
        path = self._folder / name
        if not path.exists():
            image.save(path, quality=92)
        return f"http://{self._host}:{self._server.server_port}/{name}"

    def __enter__(self) -> Pictures:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_of_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def picture(pictures: Pictures, number: int) -> str:
    """The address of a picture, each number another one: a street, or shapes instead."""
    source = SHARED / "images/street.jpg"
    if source.exists():
        image = Image.open(source).convert("RGB").resize(SIZE)
    else:
        image = Image.new("RGB", SIZE, (120, 130, 140))
        pen = ImageDraw.Draw(image)
        for n in range(12):
            x, y = n * 541 % SIZE[0], n * 307 % SIZE[1]
            pen.ellipse((x, y, x + 400, y + 300), fill=(40 * n % 255, 90, 200 - 10 * n))
    image = ImageChops.offset(image, 173 * number % SIZE[0], 0)
    ImageDraw.Draw(image).rectangle((0, 0, 40 + number % 97, 20), fill=(number % 251, 0, 90))
    return pictures.add(f"{number}.jpg", image)
