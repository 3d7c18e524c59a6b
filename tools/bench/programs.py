"""How much longer a program waits over HTTP than an annotator who clicks, on one server.

    python -m tools.bench.programs [--rounds 40] [--cold 12]

Clicks of Label Studio and requests of programs take turns, so that a busy machine slows both alike.
Both have the same prompt on pictures of the same size. Each prompt is a new one, because the server
remembers its answers. Read the differences: each one compares two neighbouring requests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import requests

from tools.bench.pictures import SIZE, Pictures, picture
from tools.bench.servers import Backend, ours

T = TypeVar("T")
Pair = tuple[float, float]  # milliseconds: of a click, and of a program
OF_MASKS = ("decode", "rle")  # the stages of a click after its picture is encoded
PAUSE_S = 0.3  # before each new picture: an embedding is written to disk after its request
TASK = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="of masks on a known picture")
    parser.add_argument("--cold", type=int, default=12, help="of new pictures")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        Pictures(Path(name) / "pictures") as pictures,
        ours(Path(name)) as backend,
    ):
        image = picture(pictures, 1)
        _click(backend, image, 90.0, 90.0)
        _new_pictures(backend, pictures, 900, 1)  # the first requests are not counted
        embeds, firsts = _new_pictures(backend, pictures, 1000, options.cold)
        run_lengths = _masks(backend, image, "rle", 45.0, options.rounds)
        outlines = _masks(backend, image, "polygon", 50.0, options.rounds)
    print(f"image {SIZE[0]} x {SIZE[1]}; milliseconds, median; differences with quartiles\n")
    print("| | click | program | difference |")
    print("|---|---|---|---|")
    print(_row("a later mask, as run lengths (`/v1/segment`)", run_lengths))
    print(_row("a later mask, as a polygon (`/v1/segment`)", outlines))
    print(_row("fetch, read and encode a picture (`/v1/embed`)", embeds))
    print(_row("the first mask (`/v1/embed` and `/v1/segment`)", firsts))


def _masks(backend: Backend, image: str, form: str, x: float, rounds: int) -> list[Pair]:
    """Times for masks of a picture that the server knows, each at another place."""
    id_ = _post(backend, "embed", {"image": {"url": image}})[1]["image_id"]
    found = []
    for n in range(rounds + 1):
        place = x + n / 20, 60.0
        found.append(
            _in_turn(
                n,
                lambda: _click(backend, image, *place),  # noqa: B023
                lambda: _segment(backend, id_, *place, form),  # noqa: B023
            )
        )
    return found[1:]


def _new_pictures(
    backend: Backend, pictures: Pictures, first: int, rounds: int
) -> tuple[list[Pair], list[Pair]]:
    """Times for pictures that the server does not know: until encoded, and for the first mask.

    The first time of a click leaves out the stages after its picture is encoded.
    """
    encoded, masks = [], []
    for n in range(rounds):
        time.sleep(PAUSE_S)
        clicked, embedded = (picture(pictures, first + 2 * n + each) for each in (0, 1))
        click, program = _in_turn(
            n,
            lambda: _first_click(backend, clicked),  # noqa: B023
            lambda: _first_mask(backend, embedded),  # noqa: B023
        )
        encoded.append((click[0], program[0]))
        masks.append((click[1], program[1]))
    return encoded, masks


def _in_turn(number: int, click: Callable[[], T], program: Callable[[], T]) -> tuple[T, T]:
    """Both results. The order changes, because a request may leave work behind for the next one."""
    if number % 2:
        of_program = program()
        return click(), of_program
    return click(), program()


def _first_click(backend: Backend, image: str) -> Pair:
    """Milliseconds without the mask, and for the whole click."""
    before = backend.stages()
    click = _click(backend, image, 45.0, 60.0)
    after = backend.stages()
    of_mask = 1000 * sum(after[stage] - before.get(stage, 0.0) for stage in OF_MASKS)
    return click - of_mask, click


def _first_mask(backend: Backend, image: str) -> Pair:
    """Milliseconds until the picture is embedded, and until its first mask."""
    embed, facts = _post(backend, "embed", {"image": {"url": image}})
    return embed, embed + _segment(backend, facts["image_id"], 45.0, 60.0, "rle")


def _click(backend: Backend, image: str, x: float, y: float) -> float:
    """Milliseconds for a click at a place in percent."""
    took, outcome = backend.answered(image, [(x, y)], f"object-{image}-{x}", TASK)
    if outcome != "mask":
        sys.exit(f"a click was answered with {outcome}")
    return took


def _segment(backend: Backend, image_id: str, x: float, y: float, form: str) -> float:
    """Milliseconds for the same prompt by a program."""
    point = [x * SIZE[0] / 100, y * SIZE[1] / 100]
    return _post(backend, "segment", {"image_id": image_id, "points": [point], "format": form})[0]


def _post(backend: Backend, route: str, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    response = requests.post(f"{backend.url}/v1/{route}", json=body, timeout=300)
    took = 1000 * (time.perf_counter() - started)
    if not response.ok:
        sys.exit(f"/v1/{route} was answered with {response.text}")
    return took, response.json()


def _row(name: str, pairs: Sequence[Pair]) -> str:
    click, program = np.median(pairs, axis=0)
    low, middle, high = np.percentile([theirs - own for own, theirs in pairs], [25, 50, 75])
    return f"| {name} | {click:.1f} | {program:.1f} | {middle:+.1f} ({low:+.1f} to {high:+.1f}) |"


if __name__ == "__main__":
    main()
