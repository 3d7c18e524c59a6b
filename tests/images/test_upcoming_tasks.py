"""With PREFETCH_NEXT, the images of the tasks after the one that was opened are got ready too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from sam_backend.images import upcoming_tasks
from sam_backend.server.app import create_app
from tests import shades
from tests.held import wait_until
from tests.loopback import Site, always, site


@pytest.fixture
def studio() -> Iterator[Site]:
    with site() as running:
        for number in range(10):
            image = always(200, shades.picture(10 * number), Content_Type="image/png")
            running.routes[f"/data/upload/1/{number}.png"] = image
        yield running


def opened(studio: Site, folder: Path, count: int, answer: object) -> list[int]:
    """Opens task 1 of project 1; the brightness of what was encoded by then."""
    environ = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": "token"}
    engine = shades.FakeEngine()
    services = shades.services(folder, engine, environ | {"PREFETCH_NEXT": str(count)})
    connection = services.access.connection(None)
    assert connection is not None
    source = upcoming_tasks.listing(connection, "1.1", 1, count)
    path = str(source.url).removeprefix(studio.url)
    studio.routes[path] = always(200, orjson.dumps(answer), Content_Type="application/json")
    client = create_app(services.settings, services).test_client()
    client.post("/predict", json=shades.click(1, "/data/upload/1/1.png"))
    expected = 1 if count == 0 else 1 + len(upcoming_tasks.read(orjson.dumps(answer)))
    wait_until(lambda: len(engine.encoded) >= expected)
    time.sleep(0.05)  # for what should not come
    return engine.encoded


def tasks(*numbers: int) -> dict[str, object]:
    return {"tasks": [{"id": n, "data": {"image": f"/data/upload/1/{n}.png"}} for n in numbers]}


def test_the_next_tasks_follow_the_opened_one_in_order(studio: Site, tmp_path: Path) -> None:
    assert opened(studio, tmp_path, 3, tasks(2, 3, 4)) == [10, 20, 30, 40]


def test_off_by_default(studio: Site, tmp_path: Path) -> None:
    assert opened(studio, tmp_path, 0, tasks(2, 3)) == [10]
    assert [path for path in studio.paths() if path.startswith("/api/tasks")] == []


def test_asks_for_so_many_tasks_of_the_project_after_this_one(studio: Site, tmp_path: Path) -> None:
    opened(studio, tmp_path, 2, tasks(2))
    [path] = [path for path in studio.paths() if path.startswith("/api/tasks")]
    asked = parse_qs(urlsplit(path).query)
    assert (asked["project"], asked["page_size"]) == (["1"], ["2"])
    [only] = orjson.loads(asked["query"][0])["filters"]["items"]
    assert (only["filter"], only["operator"], only["value"]) == ("filter:tasks:id", "greater", 1)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'{"tasks": [3, {"id": 2}]}', [{"id": 2}]),
        (b'{"tasks": null}', []),
        (b"[]", []),
        (b"<html>", []),
    ],
)
def test_an_invalid_task_is_left_out(answer: bytes, found: list[object]) -> None:
    assert upcoming_tasks.read(answer) == found
