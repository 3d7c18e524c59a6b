"""Programs that were written for Roboflow Inference's SAM 2 routes."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from sam_backend.exports import coco_rle
from sam_backend.server.app import create_app
from sam_backend.services import Services
from tests.fakes import picture
from tests.loopback import always, site

ServicesOf = Callable[..., Services]
IMAGE = {"type": "base64", "value": base64.b64encode(picture()).decode()}


def ask(client: FlaskClient, route: str, **body: Any) -> dict[str, Any]:
    response = client.post(f"/sam2/{route}?api_key=none", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.get_json()
    return answer


def prompts(*each: dict[str, Any]) -> dict[str, Any]:
    return {"prompts": list(each)}


def test_an_image_has_the_id_that_the_program_chose(client: FlaskClient) -> None:
    embedded = ask(client, "embed_image", image=IMAGE, image_id="mine", sam2_version_id="hiera_l")
    assert embedded["image_id"] == "mine"
    assert embedded["time"] > 0
    point = {"points": [{"x": 200, "y": 150, "positive": True}]}
    answer = ask(client, "segment_image", image_id="mine", prompts=prompts(point))
    (prediction,) = answer["predictions"]
    assert prediction["format"] == "polygon"
    assert 0 < prediction["confidence"] <= 1
    xs, ys = zip(*prediction["masks"][0], strict=True)
    assert min(xs) < 200 < max(xs)
    assert min(ys) < 150 < max(ys)
    assert all(isinstance(x, int) for x in xs)


def test_an_id_of_this_server_works_too(client: FlaskClient) -> None:
    own = ask(client, "embed_image", image=IMAGE)["image_id"]
    assert ask(client, "segment_image", image_id=own)["predictions"]


def test_a_box_lies_around_its_middle(client: FlaskClient) -> None:
    box = {"box": {"x": 200, "y": 150, "width": 100, "height": 60}}
    answer = ask(client, "segment_image", image=IMAGE, prompts=prompts(box), format="rle")
    mask = coco_rle.decode(answer["predictions"][0]["masks"])
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    assert abs(rows.min() - 120) <= 2
    assert abs(columns.max() - 250) <= 2


def test_a_negative_point_takes_a_part_away(client: FlaskClient) -> None:
    both = {"points": [{"x": 200, "y": 150, "positive": True}, {"x": 20, "y": 9}]}
    both["points"][1]["positive"] = False
    answer = ask(client, "segment_image", image=IMAGE, prompts=prompts(both), format="rle")
    assert not coco_rle.decode(answer["predictions"][0]["masks"])[9, 20]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"image": {"type": "numpy", "value": 5}}, 400),
        ({"image": IMAGE, "image_id": 7}, 400),
        ({"image": IMAGE, "format": "binary"}, 400),
        ({"image": IMAGE, "mask_input": [[[0.1]]]}, 400),
        ({"image": IMAGE, "prompts": {"prompts": [5]}}, 400),
        ({"image": IMAGE, "prompts": {"prompts": [{"box": {"x": "a"}}]}}, 400),
        ({"image": IMAGE, "prompts": {"prompts": [{"points": [{"x": 1}]}]}}, 400),
        ({"image": IMAGE, "prompts": 5}, 400),
        ({"image_id": "never seen"}, 404),
        ({"image": IMAGE, "point_coords": [[5000, 5]]}, 422),
        ({"image": {"type": "url", "value": "http://10.0.0.1/x.jpg"}}, 422),
    ],
)
def test_what_cannot_be_answered_says_why(
    client: FlaskClient, body: dict[str, Any], status: int
) -> None:
    response = client.post("/sam2/segment_image", json=body)
    assert response.status_code == status, response.text
    assert response.get_json()["detail"]


def test_masks_in_number_of_a_large_image_are_refused(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All prompts may be the same, which costs no decode: each mask fills as much memory."""
    monkeypatch.setattr("sam_backend.server.programs.answer_limits.MOST_PIXELS", 10 * 400 * 300)
    point = {"points": [{"x": 200, "y": 150}]}
    body = {"image": IMAGE, "prompts": prompts(*[point] * 10)}
    assert len(ask(client, "segment_image", **body)["predictions"]) == 10
    body["prompts"] = prompts(*[point] * 11)
    response = client.post("/sam2/segment_image", json=body)
    assert response.status_code == 422
    assert "room for 10 masks" in response.get_json()["detail"]


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], str]]:
    servers = []

    def start(app: Flask) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_roboflows_examples_run(
    shared: Path, services: ServicesOf, serve: Callable[[Flask], str]
) -> None:
    """As they are, but for the addresses, and for a last line that does not name the answer."""
    (page,) = (shared / "seeds").glob("001_*")
    examples = re.findall(r"```python\n(.*?infer_payload.*?)```", page.read_text(), re.DOTALL)
    assert len(examples) == 2
    made = services(ALLOWED_IMAGE_HOSTS="127.0.0.1")
    with site() as host:
        host.routes["/Q6lDy8B.jpg"] = always(200, picture(500, 400))
        url, names = serve(create_app(made.settings, made)), dict[str, Any]()
        for example in examples:
            code = example.replace("https://i.imgur.com", host.url)
            code = code.replace("http://localhost:9001", url).replace("request.json", "res.json")
            exec(code, names)
            assert names["res"].status_code == 200, names["res"].text
    assert names["res"].json()["image_id"] == "example_image_id"
    (outline,) = names["masks"]
    xs, ys = zip(*outline, strict=True)
    assert min(xs) < 380 < max(xs)
    assert min(ys) < 350 < max(ys)
