"""Engines and parts of the back end for tests, without weights."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from sam_backend.clicks.joining import EarlierClick
from sam_backend.clicks.prompts import Target
from sam_backend.engines.frame import Floats
from sam_backend.engines.protocol import SAM, Embedding
from sam_backend.formats.pictures import Pixels
from sam_backend.services import Services
from sam_backend.settings import Settings
from sam_backend.shared.state import State

SIDE = 64  # of the test images


class FakeEngine:
    """Its masks say which image they are of: discs as wide as the image is bright."""

    name = "fake"
    facts = SAM

    def __init__(self, fingerprint: str | None = "fake-1") -> None:
        self.fingerprint = fingerprint
        self.encoded: list[int] = []  # brightness of each image, in order
        self.before_encode: Callable[[], object] = lambda: None
        self.before_decode: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    def encode(self, image: Pixels) -> Embedding:
        self.before_encode()
        brightness = int(image[0, 0, 0])
        with self._lock:
            self.encoded.append(brightness)
        features = np.full((1, 4, 8, 8), brightness, np.float32)
        return Embedding(features, image.shape[0], image.shape[1])

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        self.before_decode()
        brightness = float(embedding.features[0, 0, 0, 0])
        time.sleep(0)  # lets another thread in, where one that shares state would fail
        x, y = points[0] * 256 / embedding.width
        rows, columns = np.mgrid[:256, :256]
        distance = np.hypot(rows - y, columns - x)
        logits = np.repeat((brightness / 4 + 8 - distance)[None].astype(np.float32), 4, axis=0)
        return logits, np.full(4, 0.5, np.float32)


class SharedStateEngine(FakeEngine):
    """What the tests must catch: the image of the last encode or decode, for all."""

    _image: Embedding | None = None

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        self._image = embedding
        time.sleep(0.0005)
        return super().decode(self._image, points, labels, box, mask_input)


def services(
    folder: Path, engine: FakeEngine, environ: Mapping[str, str] | None = None
) -> Services:
    """A back end's parts on a fake engine, with its files in a folder."""
    settings = Settings.from_environment({"MODEL_DIR": str(folder)} | dict(environ or {}))
    return Services(settings, "fake-version", lambda: engine)


def change_memory(
    state: State,
    project: str,
    task: str,
    target: Target,
    change: Callable[[EarlierClick], EarlierClick],
) -> None:
    """Changes what one click on a target leaves for the next."""
    state.click(project, task, lambda _project, memories: memories.change(target, "", change))


def picture(brightness: int) -> bytes:
    file = BytesIO()
    Image.new("L", (SIDE, SIDE), brightness).save(file, "PNG")
    return file.getvalue()


CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="A"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="A"/></KeyPointLabels>
</View>"""


def keypoint(prompt_id: str, x: float, y: float, width: int = SIDE, height: int = SIDE) -> object:
    """A smart keypoint at percents of the image, as the editor sends it."""
    return {
        "id": prompt_id,
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "is_positive": True,
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["A"]},
    }


def click(task_id: int, image: str, *prompts: object) -> dict[str, object]:
    """The body of a /predict request; without prompts, that of a task being opened."""
    return {
        "tasks": [{"id": task_id, "data": {"image": image}}],
        "project": "1.1",
        "label_config": CONFIG,
        "params": {"context": {"result": list(prompts)} if prompts else None},
    }
