"""Draws docs/finish_*.png: what each attribute of an output's control does to a mask.

    .venv/bin/python -m tools.pictures.finish

Needs the weights, and fetches the sample pictures on first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw

from sam_backend.clicks.finishing import Finish
from sam_backend.clicks.segmenter import ObjectPrompt, segment
from sam_backend.formats import mask_writer
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels
from tools.folders import ROOT
from tools.quality.rules import served
from tools.studio.sample import sample_pictures

FOLDER = ROOT / "docs"
HEIGHT = 210  # of a panel, pixels
COLOURS = 128  # a palette of its own keeps each picture below 100 kB
BLUE, RED = (30, 110, 255), (235, 60, 50)
CAPTION = 20

Point = tuple[int, int]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1


def main() -> None:
    """Draw a strip of panels for each attribute."""
    astronaut = _mask("astronaut", (223, 300))
    saucer, cup = _mask("coffee", (300, 330)), _mask("coffee", box=(130, 40, 480, 330))
    cat = _mask("chelsea", (220, 150), but=((170, 120), (350, 130)))  # without its eyes
    _draw(
        "detail",
        [(_outlined("astronaut", astronaut, d), f'sam_detail="{d}"') for d in (20, 60, 90)],
        crop=(0, 0, 400, 512),
    )
    coffee = (60, 20, 500, 400)
    _draw(
        "smooth",
        [
            (_painted("coffee", Finish(smooth=much).applied_to(saucer)), f'sam_smooth="{much}"')
            for much in (0, 30, 80)
        ],
        coffee,
    )
    _draw(
        "min_area",
        [
            (_painted("coffee", Finish(min_area=area).applied_to(cup)), f'sam_min_area="{area}"')
            for area in (0, 200, 2000)
        ],
        coffee,
    )
    _draw(
        "holes",
        [
            (_painted("chelsea", Finish(fill_holes=fill).applied_to(cat)), f'sam_holes="{word}"')
            for fill, word in ((False, "keep"), (True, "fill"))
        ],
    )
    overlaps = {
        "allow": (saucer, cup),
        "below": (saucer, cup & ~saucer),
        "above": (saucer & ~cup, cup),
    }
    _draw(
        "overlap",
        [
            (_painted("coffee", new, there), f'sam_overlap="{word}"')
            for word, (there, new) in overlaps.items()
        ],
        coffee,
    )


@cache
def _picture(name: str) -> Pixels:
    path = next(path for path in sample_pictures() if path.stem == name)
    pixels: Pixels = np.asarray(Image.open(path).convert("RGB"))
    return pixels


@cache
def _mask(name: str, *points: Point, but: tuple[Point, ...] = (), box: Box | None = None) -> Mask:
    """The mask of a click, or of a rectangle; without what is at the points `but`."""
    _, engine = served()
    places = np.array([*points, *but], np.float32).reshape(-1, 2)
    labels = np.array([1] * len(points) + [0] * len(but), np.float32)
    prompt = ObjectPrompt(places, labels, None if box is None else np.array(box, np.float32))
    return segment(engine, engine.encode(_picture(name)), prompt).mask


def _painted(name: str, mask: Mask, there: Mask | None = None) -> Pixels:
    """A picture with a mask in blue, and one that was there before in red."""
    drawn: Pixels = _picture(name).copy()
    for each, colour in ((there, RED), (mask, BLUE)):
        if each is not None:
            drawn[each] = (0.45 * drawn[each] + 0.55 * np.array(colour)).astype(np.uint8)
            lines, _ = cv2.findContours(
                each.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(drawn, lines, -1, (255, 255, 255), 2)
    return drawn


def _outlined(name: str, mask: Mask, detail: int) -> Pixels:
    """A picture with the outlines of a mask and their points."""
    picture = _picture(name)
    image = Image.fromarray(picture.copy())
    draw = ImageDraw.Draw(image, "RGBA")
    size = np.array([picture.shape[1], picture.shape[0]])
    tolerance = Finish(detail=detail).tolerance(mask, default=1.0)
    for polygon in mask_writer.polygons(mask, tolerance):
        places = (np.array(polygon["points"]) / 100 * size).tolist()
        draw.polygon([tuple(place) for place in places], fill=(*BLUE, 110))
        draw.line([tuple(p) for p in (*places, places[0])], fill=(255, 255, 255), width=2)
        for x, y in places:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=BLUE, outline=(255, 255, 255))
    drawn: Pixels = np.asarray(image)
    return drawn


def _draw(name: str, panels: Sequence[tuple[Pixels, str]], crop: Box | None = None) -> None:
    """Write docs/finish_<name>.png: the panels side by side, each with its caption below."""
    drawn = [_panel(picture, caption, crop) for picture, caption in panels]
    strip = Image.fromarray(np.hstack(drawn)).quantize(COLOURS, dither=Image.Dither.NONE)
    target = FOLDER / f"finish_{name}.png"
    strip.save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1000} kB")


def _panel(picture: Pixels, caption: str, crop: Box | None) -> Pixels:
    left, top, right, bottom = crop or (0, 0, picture.shape[1], picture.shape[0])
    part = Image.fromarray(picture[top:bottom, left:right])
    part = part.resize((round(part.width * HEIGHT / part.height), HEIGHT), Image.Resampling.LANCZOS)
    panel = Image.new("RGB", (part.width + 4, HEIGHT + CAPTION), "white")
    panel.paste(part, (2, 0))
    ImageDraw.Draw(panel).text((4, HEIGHT + 4), caption, fill="black", font_size=13)
    drawn: Pixels = np.asarray(panel)
    return drawn


if __name__ == "__main__":
    main()
