"""How the cost of a click grows: with the picture, its prompts, its masks, and the cached images.

    make bench PLOTS=folder       # or: python -m tools.bench.growth FOLDER

It counts milliseconds of the processor in one process, because a busy machine hardly changes them.
Each one is the median of some clicks. They are written to FOLDER/growth.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import requests
from flask.testing import FlaskClient
from PIL import Image

from sam_backend.embeddings.store import EmbeddingStore
from sam_backend.engines.protocol import Embedding
from sam_backend.server.app import create_app
from sam_backend.server.startup import open_services
from sam_backend.settings import Settings
from tools.bench.pictures import Pictures, picture
from tools.bench.servers import Backend
from tools.folders import ROOT

SIZES = (0.3, 1, 3, 10, 25, 50)  # megapixels
PROMPTS = (1, 2, 3, 5, 10, 20, 50, 100)
MASKS = (0, 1, 10, 100, 300, 1000)
CACHED = (10, 100, 1000, 10_000)
ROUNDS = 7

Points = dict[str, list[tuple[float, float]]]  # by line: size, milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, Pictures(Path(name) / "pictures") as pictures:
        found = {"cached": cached(Path(name) / "store")}
        with _client(Path(name)) as client:
            found |= {
                "size": by_size(client, pictures),
                "prompts": by_prompts(client, picture(pictures, 1)),
                "masks": by_masks(client, picture(pictures, 1)),
            }
    (folder / "growth.json").write_text(json.dumps(found, indent=1))


def by_size(client: _Client, pictures: Pictures) -> Points:
    """The first click on a picture, and further ones."""
    found: Points = {"first click": [], "later click": []}
    for megapixels in SIZES:
        width = round((megapixels * 1.5e6) ** 0.5)
        source = Image.open(io.BytesIO(requests.get(picture(pictures, 1), timeout=60).content))
        image = source.resize((width, round(width / 1.5)))
        first = []
        for n in range(3):
            image.putpixel((n, 0), (n, 99, 7))
            address = pictures.add(f"{megapixels}-{n}.jpg", image)
            first.append(client.click(address, [(45, 60)], pixels=image.size))
        later = [
            client.click(address, [(45 + n / 20, 60)], pixels=image.size) for n in range(ROUNDS)
        ]
        _note(found, megapixels, {"first click": first, "later click": later})
    return found


def by_prompts(client: _Client, address: str) -> Points:
    """The last one of some keypoints on one object."""
    found: Points = {"the last keypoint": []}
    took: dict[int, list[float]] = {}
    for object_ in range(3):
        dice = np.random.default_rng(object_)
        points = [(45.0, 60.0), *map(tuple, dice.uniform(40, 60, (max(PROMPTS), 2)).tolist())]
        for number in range(1, max(PROMPTS) + 1):
            ms = client.click(address, points[:number], name=f"object-{object_}")
            took.setdefault(number, []).append(ms)
    for number in PROMPTS:
        _note(found, number, {"the last keypoint": took[number]})
    return found


def by_masks(client: _Client, address: str) -> Points:
    """A click beside masks of 20 kB: in a task that was opened, where the masks are read."""
    found: Points = {"later click": []}
    places = count()  # each click is at another place, because the app remembers its answers
    for masks in MASKS:
        took = [
            client.click(address, [(20 + next(places) / 20, 90)], masks=masks, task=masks + 1)
            for _ in range(ROUNDS + 1)
        ]
        _note(found, masks, {"later click": took[1:]})
    return found


def cached(folder: Path) -> Points:
    """One look-up and one write, beside other files. They are small: their number counts."""
    found: Points = {"look-up": [], "write, evicting in time": []}
    features = np.zeros((1, 4, 4, 4), np.float32)
    embedding, made = Embedding(features, 10, 10), count()
    store = EmbeddingStore(folder, 1 << 30)
    for files in CACHED:
        for number in range(next(made), files):
            store.put(f"{number:064x}", embedding)
        made = count(files)
        one_file = store.usage()[1] / files
        full = EmbeddingStore(folder, round(one_file * files))
        names = [f"{n:064x}" for n in range(0, files, files // 10)]
        looked = [_took(partial(store.get, name)) for name in names]
        begin = time.process_time()
        for n in range(files // 5):
            full.put(f"{n:063x}f", embedding)
        wrote = 1000 * (time.process_time() - begin) / (files // 5)
        _note(found, files, {"look-up": looked, "write, evicting in time": [wrote]})
    return found


def _note(found: Points, grown: float, took: dict[str, Sequence[float]]) -> None:
    for line, values in took.items():
        found[line].append((grown, statistics.median(values)))
    print(grown, {line: round(statistics.median(values), 2) for line, values in took.items()})


def _took(run: Callable[[], object]) -> float:
    begin = time.process_time()
    run()
    return 1000 * (time.process_time() - begin)


class _Client:
    """Asks an app in this process."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client
        self._bodies = Backend("here", "", 0)

    def click(self, address: str, points: Sequence[tuple[float, float]], **more: Any) -> float:
        """Milliseconds of the processor for a click."""
        body = self._bodies.body(address, points, **more)
        begin = time.process_time()
        response = self._client.post("/predict", data=body, content_type="application/json")
        took = 1000 * (time.process_time() - begin)
        if not response.get_json()["results"][0]["result"]:
            raise SystemExit("a click got no mask: its figures would mean nothing")
        return took


@contextmanager
def _client(folder: Path) -> Iterator[_Client]:
    weights = os.environ.get("MOBILESAM_CHECKPOINT") or str(ROOT / "models/mobile_sam")
    settings = Settings.from_environment(
        {
            "MODEL_DIR": str(folder),
            "MOBILESAM_CHECKPOINT": weights,
            "ALLOWED_IMAGE_HOSTS": "127.0.0.1",
        }
    )
    services = open_services(settings)
    services.engine.ready()
    yield _Client(create_app(settings, services).test_client())


if __name__ == "__main__":
    main()
