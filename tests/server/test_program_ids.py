"""The ids of images and answers, which work in every worker and after a restart."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared import program_ids
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, draw, iou
from tests.fakes import DiscEngine, picture
from tests.held import LIMIT_S
from tests.needs import WEIGHTS, need_weights
from tests.server.program_requests import embed, mask_of, problem, segment
from tests.server.test_startup import free_port, running

ServicesOf = Callable[..., Services]


def test_an_answer_works_after_a_restart(services: ServicesOf, tmp_path: Path) -> None:
    """What it follows from is in the shared files; so it works in every worker."""
    environ = {"MODEL_DIR": str(tmp_path / "shared")}

    class Known(DiscEngine):
        fingerprint = "disc"

    one, other = (services(Known(), **environ) for _ in range(2))
    client = create_app(one.settings, one).test_client()
    image = embed(client)
    first = segment(client, image, points=[[100, 100]])
    second = create_app(other.settings, other).test_client()
    answer = segment(
        second, image, mask_input=first["answer_id"], points=[[300, 200]], format="coco_rle"
    )
    assert mask_of(answer)[100, 100]
    assert mask_of(answer)[200, 300]


def test_ids_cannot_be_guessed_and_an_answer_belongs_to_its_picture(client: FlaskClient) -> None:
    one, other = embed(client), embed(client, picture(200, 200))
    assert len({embed(client) for _ in range(20)}) == 20
    assert len(one) >= 20
    answer = segment(client, one, points=[[100, 100]])["answer_id"]
    body = {"image_id": other, "mask_input": answer}
    assert "no answer about this image" in problem(client.post("/v1/segment", json=body), 404)


def test_an_id_that_was_not_used_for_a_day_is_gone(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, kept, start = embed(client), program_ids.KEPT_S, time.time()

    def later(seconds: float) -> None:
        monkeypatch.setattr("sam_backend.shared.program_ids.time.time", lambda: start + seconds)

    for seconds in (kept - 10, 2 * kept - 20):
        later(seconds)
        assert segment(client, image, points=[[100, 100]])["area"] > 0
    later(4 * kept)
    problem(client.post("/v1/segment", json={"image_id": image, "points": [[1, 1]]}), 404)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two workers with the real weights, as users start them."""
    need_weights()
    folder = tmp_path_factory.mktemp("served")
    settings = {
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "MODEL_DIR": str(folder),
        "MOBILESAM_CHECKPOINT": str(WEIGHTS),
        "WORKERS": "2",
    }
    with running("python", "_wsgi.py", **settings) as (url, _):
        yield url


def segmented(served: str, body: dict[str, Any]) -> dict[str, Any]:
    """The first object of an answer. On a busy machine, it may be refused while others decode."""
    while True:
        answer = requests.post(f"{served}/v1/segment", json=body, timeout=LIMIT_S)
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            assert answer.ok, answer.text
            found: dict[str, Any] = answer.json()["objects"][0]
            return found
        time.sleep(0.05)


def test_an_id_works_in_every_worker_at_once(served: str) -> None:
    """Also in the moment after it was made, when the embedding is still being written."""
    file = io.BytesIO()
    draw(list(Shape)).save(file, "PNG")
    headers = {"Content-Type": "image/png"}
    embedded = requests.post(
        f"{served}/v1/embed", file.getvalue(), headers=headers, timeout=LIMIT_S
    )
    image = embedded.json()["image_id"]
    x, y = Shape.DISC.centre

    def click(_: int) -> float:
        body = {"image_id": image, "points": [[x * WIDTH, y * HEIGHT]], "format": "coco_rle"}
        first = segmented(served, body)
        again = {"image_id": image, "mask_input": first["answer_id"], "format": "coco_rle"}
        assert segmented(served, again)["mask"] == first["mask"]
        return iou(mask_of(first), Shape.DISC.mask())

    with ThreadPoolExecutor(4) as threads:
        assert min(threads.map(click, range(12))) > 0.95
    assert requests.delete(f"{served}/v1/images/{image}", timeout=LIMIT_S).status_code == 204
    body = {"image_id": image, "points": [[1, 1]]}
    for _ in range(6):
        assert requests.post(f"{served}/v1/segment", json=body, timeout=LIMIT_S).status_code == 404


def test_a_request_that_cannot_be_read_is_a_problem_too(served: str) -> None:
    """The server answers it before the app sees it."""
    host, port = served.removeprefix("http://").split(":")
    head = (
        "POST /v1/segment HTTP/1.1\r\nHost: sam\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"
    )
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert "Content-Type: application/problem+json" in answer
    assert '"detail":"the request is malformed' in answer


def test_the_shared_file_is_for_its_owner_alone(client: FlaskClient, tmp_path: Path) -> None:
    embed(client)
    (path,) = tmp_path.rglob("programs.sqlite3")
    assert path.stat().st_mode & 0o077 == 0
