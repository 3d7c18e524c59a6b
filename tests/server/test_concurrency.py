"""Never another annotator's mask: each answer is the one that the same click gets alone."""

from __future__ import annotations

import base64
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest
from flask import Flask

from sam_backend.server.app import create_app
from sam_backend.shared import loading_engine
from tests import shades

IMAGES = 24
CLICKS = 3000
THREADS = 8


def app_on(folder: Path, engine: shades.FakeEngine) -> Flask:
    # A memory of two images and a small disk: clicks meet every tier, and evictions.
    services = shades.services(folder, engine, {"CACHE_MB": "16", "CACHE_DISK_MB": "1"})
    return create_app(services.settings, services)


def ask(app: Flask, number: int) -> object:
    """The RLE for the click of that number: the numbers decide over image and place."""
    place = random.Random(number)
    brightness = 40 + 8 * place.randrange(IMAGES)
    image = "data:image/png;base64," + base64.b64encode(shades.picture(brightness)).decode()
    x, y = place.uniform(20, 80), place.uniform(20, 80)
    # One project, task and label for all: what they must not share is the image and the prompt.
    body = shades.click(1, image, shades.keypoint(uuid.uuid4().hex, x, y))
    response = app.test_client().post("/predict", json=body)
    while response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:  # others were before it
        time.sleep(0.05)
        response = app.test_client().post("/predict", json=body)
    assert response.json is not None
    return response.json["results"][0]["result"][0]["value"]["rle"]


def wrong_answers(folder: Path, engine: shades.FakeEngine, clicks: int) -> int:
    alone = app_on(folder / "alone", shades.FakeEngine())
    together = app_on(folder / "together", engine)
    numbers = [random.Random(n).randrange(200) for n in range(clicks)]
    expected = {number: ask(alone, number) for number in set(numbers)}
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(lambda number: ask(together, number), numbers)
        return sum(a != expected[n] for n, a in zip(numbers, answers, strict=True))


def test_each_answer_is_its_own(tmp_path: Path) -> None:
    assert wrong_answers(tmp_path, shades.FakeEngine(), CLICKS) == 0


def test_a_shared_image_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading_engine, "cores", lambda: 4)  # on one, decodes follow each other
    assert wrong_answers(tmp_path, shades.SharedStateEngine(), 400) > 0


@pytest.mark.parametrize("memory", ["16", "64"])
def test_encodes_are_no_more_than_images(tmp_path: Path, memory: str) -> None:
    engine = shades.FakeEngine()
    services = shades.services(tmp_path, engine, {"CACHE_MB": memory})
    app = create_app(services.settings, services)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda number: ask(app, number), range(200)))
    assert len(engine.encoded) == len(set(engine.encoded)) <= IMAGES
