"""The pictures in docs/quality.md: the clicks, our mask and the peer's mask, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from sam_backend.engines.protocol import Engine
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels
from tools.quality.click_protocol import Click
from tools.quality.rules import Example, Ours, as_prompt

PANEL_WIDTH = 300  # pixels
COLOURS = 250  # and a few for the clicks: a palette keeps a photograph below 150 kB
GREEN, RED, BLUE = (40, 200, 60), (230, 50, 50), (30, 110, 255)


@dataclass(frozen=True)
class Scene:
    """A picture that scikit-image ships, in the public domain or under CC0."""

    file: str
    clicks: tuple[Click, ...]


SCENES = (
    Scene("astronaut.png", (Click(223, 300, True),)),
    Scene("chelsea.png", (Click(220, 150, True), Click(410, 150, False))),
    Scene("coffee.png", (Click(300, 180, True),)),
)


def draw_pictures(engine: Engine, images: Path, out: Path) -> None:
    """Write out/quality_<name>.png for each scene found in images."""
    for scene in SCENES:
        image = np.asarray(Image.open(images / scene.file).convert("RGB"))
        ours, peer = _answers(engine, image, scene.clicks)
        panels = [image, _masked(image, ours), _masked(image, peer)]
        picture = Image.fromarray(np.hstack([_panel(panel) for panel in panels]))
        picture = picture.quantize(COLOURS, dither=Image.Dither.NONE)
        for click in scene.clicks:
            _mark(picture, click, PANEL_WIDTH / image.shape[1])
        picture.save(out / f"quality_{Path(scene.file).stem}.png", optimize=True)


def _answers(engine: Engine, image: Pixels, clicks: tuple[Click, ...]) -> tuple[Mask, Mask]:
    embedding, prompt = engine.encode(image), as_prompt(clicks)
    return Ours(engine, embedding)(prompt), Example(engine, embedding)(prompt)


def _mark(picture: Image.Image, click: Click, scale: float) -> None:
    x, y = 2 + click.x * scale, click.y * scale
    draw = ImageDraw.Draw(picture)
    colour = GREEN if click.positive else RED
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=colour, outline=(255, 255, 255), width=2)


def _masked(image: Pixels, mask: Mask) -> Pixels:
    drawn: Pixels = image.copy()
    drawn[mask] = (0.45 * drawn[mask] + 0.55 * np.array(BLUE)).astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, (255, 255, 255), max(1, image.shape[1] // 300))
    return drawn


def _panel(image: Pixels) -> Pixels:
    height = round(image.shape[0] * PANEL_WIDTH / image.shape[1])
    resized = cv2.resize(image, (PANEL_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.pad(resized, ((0, 0), (2, 2), (0, 0)), constant_values=255).astype(np.uint8)
