"""Drawing: a picture with its regions in colours, and a contact sheet of such pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from sam_backend.clicks.output import Result
from sam_backend.errors import Refusal
from sam_backend.formats import mask_reader, results
from sam_backend.formats.mask import Mask
from sam_backend.formats.pictures import Pixels
from sam_backend.whole_files import replacing

CONTACT_SHEET = "contact-sheet.jpg"
LONGEST_SIDE = 1600
_THUMB, _GAP, _MOST_THUMBS = 240, 6, 400
# They differ from each other and from most photographs.
_COLOURS = (
    (229, 72, 77), (62, 99, 221), (48, 164, 108), (245, 158, 11), (142, 78, 198),
    (0, 162, 199), (214, 64, 159), (153, 213, 42), (255, 128, 77), (18, 165, 148),
)  # fmt: skip


def make_folder(folder: Path) -> None:
    """Makes the folder for the pictures. Refusal if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal("output", f"{folder} cannot be made: {error.strerror}") from None


def drawn(pixels: Pixels, regions: Sequence[Result]) -> Pixels:
    """The picture with its regions in colours, each with outline, label and score."""
    scale = min(1.0, LONGEST_SIDE / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    canvas = _resized(pixels, size)
    parts: dict[str, list[Result]] = {}
    for result in regions:
        parts.setdefault(str(result["id"]), []).append(result)
    covered = {
        id_: cv2.resize(
            mask_of(group[0], *pixels.shape[:2]).astype(np.uint8),
            size,
            interpolation=cv2.INTER_NEAREST,
        )
        for id_, group in parts.items()
    }
    captions = []
    # Large regions first, so that they do not hide small ones.
    for number, id_ in enumerate(sorted(covered, key=lambda id_: -int(covered[id_].sum()))):
        colour, mask = _COLOURS[number % len(_COLOURS)], covered[id_]
        inside = mask > 0
        canvas[inside] = (0.55 * canvas[inside] + 0.45 * np.array(colour)).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, colour, 2)
        if inside.any():
            rows, columns = np.nonzero(inside)
            place = int(columns.min()), int(rows.min())
            captions.append((_caption(parts[id_]), place, colour))
    for text, (x, y), colour in captions:
        _put_text(canvas, text, x, y, colour)
    return canvas


def mask_of(result: Result, height: int, width: int) -> Mask:
    """The pixels (height, width) of a region, as an export paints them. Boxes are filled."""
    value = result["value"]
    if "width" not in value:
        return mask_reader.read(value, height, width)
    left, top = value["x"], value["y"]
    right, bottom = left + value["width"], top + value["height"]
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return mask_reader.read({"points": corners}, height, width)


def contact_sheet(folder: Path) -> None:
    """A picture of all previews in a folder, in the order of their names."""
    paths = [path for path in folder.glob("*.jpg") if path.name != CONTACT_SHEET]
    paths = sorted(paths, key=_in_order)[:_MOST_THUMBS]
    if not paths:
        return
    columns = math.ceil(math.sqrt(len(paths)))
    rows = math.ceil(len(paths) / columns)
    cell = _THUMB + _GAP
    sheet = np.full((rows * cell + _GAP, columns * cell + _GAP, 3), 255, np.uint8)
    for number, path in enumerate(paths):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if picture is None:  # left by a run that was killed
            continue
        scale = _THUMB / max(picture.shape[:2])
        width, height = (max(1, round(side * scale)) for side in picture.shape[1::-1])
        thumb = _resized(np.asarray(picture, np.uint8), (width, height))
        _put_text(thumb, path.stem, 0, 0, (60, 60, 60))
        row, column = divmod(number, columns)
        top, left = _GAP + row * cell, _GAP + column * cell
        sheet[top : top + height, left : left + width] = thumb
    write(folder / CONTACT_SHEET, sheet)


def _resized(picture: Pixels, size: tuple[int, int]) -> Pixels:
    return np.array(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _caption(group: Sequence[Result]) -> str:
    labels = [word for result in group for word in results.labels(result) or []]
    return " ".join([*dict.fromkeys(labels), f"{group[0]['score']:.2f}"])


def _put_text(canvas: Pixels, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    # OpenCV only has ASCII letters.
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, height), _ = cv2.getTextSize(text, font, size, 1)
    x = max(0, min(x, canvas.shape[1] - width - 4))
    cv2.rectangle(canvas, (x, y), (x + width + 4, y + height + 6), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x + 2, y + height + 2), font, size, (255, 255, 255), 1, cv2.LINE_AA)


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Task 9 before task 10."""
    return [
        (int(part or 0), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", path.stem)
    ]


def write(path: Path, picture: Pixels) -> None:
    """Writes a JPEG completely or not at all."""
    encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise Refusal("output", f"{path} cannot be written as JPEG")
    try:
        with replacing(path) as file:
            file.write(jpeg.tobytes())
    except OSError as error:
        raise Refusal("output", f"{path} cannot be written: {error.strerror}") from None
