"""What many annotators do, for `tools.soak.machines`, and which masks are right.

Each annotator opens task after task. In each one, they draw a rectangle around an object and add a
keypoint to it, and click another object two times. The right mask for the keypoint needs the
rectangle, which another machine may have answered.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import orjson
import requests
from PIL import Image

from tools.soak.clicks import TIMEOUT_S, Answer, Click, ask, drawn

# Before an action, by its name. A keypoint belongs to a rectangle of the last 12 s.
PAUSES_S = {"inside": (2.0, 6.0)}
PAUSE_S = (10.0, 24.0)
_REMEMBERED_S = 10.0


@dataclass(frozen=True)
class Step:
    """One click on a picture, after the earlier clicks of its object."""

    picture: int
    name: str
    click: Click


@dataclass(frozen=True)
class Right:
    """The right answer to a step, and the one without its object's rectangle."""

    joined: Answer
    alone: Answer


def image(number: int) -> Image.Image:
    return drawn(10_000 + number)


def steps(picture: int, address: str) -> list[Step]:
    """The clicks of a task on a picture, in order. All annotators make the same ones."""
    dice = np.random.default_rng(picture)
    (x, y), (u, v) = dice.uniform(20, 70, (2, 2)).round(1).tolist()
    inside = (x + 6.0, y + 7.0)
    further = (u + 3.0, v - 2.0)
    return [
        Step(picture, "rectangle", Click(address, 0, (), (x, y, 15.0, 18.0), "A")),
        Step(picture, "inside", Click(address, 0, (inside,))),
        Step(picture, "first", Click(address, 0, ((u, v),))),
        Step(picture, "second", Click(address, 0, ((u, v), further))),
    ]


def body(step: Step, who: str, task: int) -> bytes:
    """The ids of an object's prompts stay the same from step to step."""
    group = "a" if step.name in ("rectangle", "inside") else "b"
    prefix = f"{who}-{task}-{group}{'r' if step.click.box else 'k'}"
    return step.click.body(who, task, prefix)


def open_task(url: str, step: Step, who: str, task: int) -> None:
    """An annotator opens the task of a step. Label Studio shows no error there."""
    asked = orjson.loads(body(step, who, task))
    asked["params"]["context"] = None
    with contextlib.suppress(requests.RequestException):
        requests.post(f"{url}/predict", json=asked, timeout=TIMEOUT_S)


def right(url: str, pictures: Sequence[Sequence[Step]]) -> dict[tuple[int, str], Right]:
    """The answers of one machine that nobody else uses."""

    def answer(step: Step, task: int) -> Answer:
        """The answer to a click, which is sent again if the machine has too much to do."""
        for _ in range(20):
            found = ask(url, body(step, "right", task))
            if found.status == 200 and found.masks:
                return found
            time.sleep(0.2)
        raise SystemExit(f"picture {step.picture} has no right mask: the answer is {found.status}")

    def of_picture(number: int) -> Iterator[tuple[tuple[int, str], Right]]:
        # The picture is encoded before, because a rectangle is remembered for 12 s only.
        answer(pictures[number][-1], 2 * number + 1)
        began = time.monotonic()
        for step in pictures[number]:
            joined = answer(step, 2 * number)
            alone = joined
            if step.name == "inside":  # in another task, where there is no rectangle
                alone = answer(step, 2 * number + 1)
                if time.monotonic() - began > _REMEMBERED_S:
                    raise SystemExit("this machine is too busy: three clicks took over 10 s")
            yield (number, step.name), Right(joined, alone)

    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda number: list(of_picture(number)), range(len(pictures)))
        return dict(pair for pairs in found for pair in pairs)
