"""Families of inputs: each draws requests of one kind, of any size, from a seed."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from tests import fakes
from tests.loopback import Site

USER, PASSWORD = "annotator", "secret"
# Nothing here reads an input that is larger.
LARGEST = 1_000_000

# In tasks, pictures and label configs, so that none is remembered when it comes again.
numbers = itertools.count(1)

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """Where a family takes its choices from, and how large an input it should make."""

    dice: random.Random
    size: int  # bytes
    site: Site  # a host that images may come from

    def one_of(self, *choices: Any) -> Any:
        return self.dice.choice(choices)

    def many(self, piece: str | bytes) -> int:
        """How often a piece fits."""
        return max(1, self.size // len(piece))


Made = bytes | tuple[bytes, ...]  # whole HTTP requests


@dataclass(frozen=True)
class Family:
    """A kind of input."""

    name: str
    make: Callable[[Draw], Made]
    goes_on: bool  # work may go on when the answer is there
    cut_off: bool  # the client says no more after these bytes


FAMILIES: dict[str, Family] = {}


def family(
    name: str, *, goes_on: bool = False, cut_off: bool = False
) -> Callable[[Callable[[Draw], Made]], Callable[[Draw], Made]]:
    """Registers a maker of requests."""

    def register(make: Callable[[Draw], Made]) -> Callable[[Draw], Made]:
        assert name not in FAMILIES, name
        FAMILIES[name] = Family(name, make, goes_on, cut_off)
        return make

    return register


def request(
    route: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: Iterable[tuple[str, str]] = (),
    password: str | None = PASSWORD,
) -> bytes:
    """An HTTP request as it goes over the wire."""
    lines = [f"{method} {route} HTTP/1.1", "Host: sam", "Connection: close"]
    given = dict(headers)
    if password is not None:
        word = base64.b64encode(f"{USER}:{password}".encode()).decode()
        lines.append(f"Authorization: Basic {word}")
    if method == "POST":
        given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **given}
    lines += [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def post(route: str, value: object) -> bytes:
    """A JSON value to a route; /webhook is the one that wants no password."""
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    return request(route, body, password=None if route == "/webhook" else PASSWORD)


PICTURE = fakes.inline(fakes.picture())
SIZE: dict[str, Any] = {"original_width": 400, "original_height": 300}


def task(image: object = PICTURE, **more: Any) -> dict[str, Any]:
    return {"id": next(numbers), "data": {"image": image}, **more}


def click(
    tasks: list[Any],
    results: Iterable[Any] = (fakes.keypoint("p", 50, 50),),
    config: str = fakes.BRUSH_LABELS,
) -> bytes:
    """Prompts in tasks."""
    return _predict(tasks, config, {"result": list(results)})


def opened(tasks: list[Any], config: str = fakes.BRUSH_LABELS) -> bytes:
    """Tasks without prompts: one is opened, several are a batch."""
    return _predict(tasks, config, None)


def clicked_or_opened(draw: Draw, tasks: list[Any], config: str = fakes.BRUSH_LABELS) -> bytes:
    made: bytes = draw.one_of(click, opened)(tasks, config=config)
    return made


def saved(draw: Draw, results: list[Any], image: object = PICTURE) -> list[Any]:
    """A task with saved results, in a draft or an annotation."""
    holder = {"id": 1, "updated_at": "2026-01-01T00:00:00Z", "result": results}
    return [task(image, **{draw.one_of("drafts", "annotations"): [holder]})]


def filled(draw: Draw, make: Callable[[int], T], *, most: int = LARGEST) -> list[T]:
    """Values until their JSON has the size; make(n) gives the n-th."""
    found, left = list[T](), draw.size
    while left > 0 and len(found) < most:
        found.append(make(len(found)))
        left -= len(orjson.dumps(found[-1])) + 1
    return found


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _predict(tasks: list[Any], config: str, context: Mapping[str, Any] | None) -> bytes:
    params = {"login": None, "password": None, "context": context}
    body = {"tasks": tasks, "project": "1.1", "label_config": config, "params": params}
    return post("/predict", body)


def drawn(made: Made) -> Iterator[bytes]:
    """The requests of a case, one after the other."""
    yield from (made,) if isinstance(made, bytes) else made
