"""The routes for programs: embed once, segment many times, in each format, with limits."""

from __future__ import annotations

import base64
import io
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from flask.testing import FlaskClient
from PIL import Image

from sam_backend.exports import coco_rle
from sam_backend.formats import rle
from sam_backend.images import loader
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared import program_ids
from sam_backend.shared.click_budget import DECODES_A_REQUEST
from tests.conftest import WEIGHTS
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, draw, iou
from tests.fakes import DiscEngine, picture
from tests.loopback import always, site
from tests.server.test_startup import free_port, running

ServicesOf = Callable[..., Services]


def embed(client: FlaskClient, content: bytes | None = None) -> str:
    response = client.post("/v1/embed", data=content or picture(), content_type="image/png")
    assert response.status_code == 200, response.text
    id_: str = response.get_json()["image_id"]
    return id_


def ask(client: FlaskClient, route: str = "/v1/segment", **body: Any) -> dict[str, Any]:
    response = client.post(route, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.get_json()
    return answer


def segment(client: FlaskClient, image_id: str, **body: Any) -> dict[str, Any]:
    """The answer about one object."""
    (found,) = ask(client, image_id=image_id, **body)["objects"]
    answer: dict[str, Any] = found
    return answer


def mask_of(answer: dict[str, Any]) -> Any:
    return coco_rle.decode(answer["mask"])


def problem(response: Any, status: int) -> str:
    """The line of an error, which has the form of RFC 9457."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body = response.get_json()
    assert set(body) == {"type", "title", "status", "detail"}
    assert body["status"] == status
    detail: str = body["detail"]
    return detail


class Counting(DiscEngine):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.encodes = self.decodes = 0

    def encode(self, image: Any) -> Any:
        self.encodes += 1
        return super().encode(image)

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        self.decodes += 1
        return super().decode(*args, **kwargs)


@pytest.fixture
def counting(services: ServicesOf) -> tuple[Counting, FlaskClient]:
    engine = Counting()
    made = services(engine)
    return engine, create_app(made.settings, made).test_client()


def test_an_image_is_embedded_once_and_segmented_often(
    counting: tuple[Counting, FlaskClient],
) -> None:
    engine, client = counting
    embedded = client.post("/v1/embed", data=picture(), content_type="image/png").get_json()
    assert (embedded["width"], embedded["height"]) == (400, 300)
    assert embedded["kept_seconds"] == program_ids.KEPT_S
    for x in (50, 200):
        mask = mask_of(segment(client, embedded["image_id"], points=[[x, 90]], format="coco_rle"))
        assert mask[90, x]
    assert engine.encodes == 1


@pytest.mark.parametrize(
    "image",
    [
        {"base64": base64.b64encode(picture()).decode()},
        {"url": "data:image/png;base64," + base64.b64encode(picture()).decode()},
    ],
)
def test_an_image_comes_in_json_too(
    counting: tuple[Counting, FlaskClient], image: dict[str, str]
) -> None:
    """The same picture is encoded once, however it comes."""
    engine, client = counting
    one = ask(client, "/v1/embed", image=image)["image_id"]
    answer = ask(client, image=image, points=[[200, 150]])
    assert answer["image_id"] != one
    assert segment(client, answer["image_id"], points=[[200, 150]])["area"] > 0
    embed(client)
    assert engine.encodes == 1


def test_each_format_is_the_same_mask(client: FlaskClient) -> None:
    image = embed(client)
    answers = {
        form: segment(client, image, points=[[200, 150]], format=form)
        for form in ("polygon", "rle", "coco_rle", "png", "bitmask")
    }
    mask = mask_of(answers["coco_rle"])
    assert np.array_equal(rle.decode(answers["rle"]["mask"], 300, 400), mask)
    for form, channel in (("png", None), ("bitmask", 3)):
        png = base64.b64decode(answers[form]["mask"].removeprefix("data:image/png;base64,"))
        pixels = np.asarray(Image.open(io.BytesIO(png)))
        assert np.array_equal((pixels if channel is None else pixels[..., channel]) > 0, mask)
    (outline,) = answers["polygon"]["mask"]
    left, top, right, bottom = answers["polygon"]["box"]
    xs, ys = zip(*outline, strict=True)
    assert (left, right) == (round(min(xs)), round(max(xs)))
    assert (top, bottom) == (round(min(ys)), round(max(ys)))
    assert {answer["area"] for answer in answers.values()} == {int(mask.sum())}
    assert {answer["format"] for answer in answers.values()} == set(answers)


def test_points_refine_an_earlier_answer(counting: tuple[Counting, FlaskClient]) -> None:
    engine, client = counting
    image = embed(client)
    first = segment(client, image, points=[[100, 100]], format="coco_rle")
    more: dict[str, Any] = {"points": [[300, 200]], "labels": [1], "format": "coco_rle"}
    second = segment(client, image, mask_input=first["answer_id"], **more)
    assert mask_of(second)[100, 100]
    assert mask_of(second)[200, 300]
    assert engine.decodes == 2, "what was decoded is not decoded again"
    less = segment(
        client,
        image,
        mask_input=second["answer_id"],
        points=[[300, 200]],
        labels=[0],
        format="coco_rle",
    )
    assert mask_of(less)[100, 100]
    assert not mask_of(less)[200, 300]


def test_an_answer_is_asked_for_in_another_format(
    counting: tuple[Counting, FlaskClient],
) -> None:
    engine, client = counting
    image = embed(client)
    for prompt in ({"points": [[100, 100]]}, {"box": [50, 50, 150, 150]}):
        first = segment(client, image, **prompt, format="coco_rle")
        before = engine.decodes
        again = segment(client, image, mask_input=first["answer_id"], format="coco_rle")
        assert again["mask"] == first["mask"]
        assert engine.decodes == before


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


def test_several_objects_come_in_order_and_one_that_fails_says_why(client: FlaskClient) -> None:
    image = embed(client)
    objects = [
        {"points": [[100, 100]]},
        {"points": [[1000, 100]]},
        {"box": [200, 100, 300, 200]},
        {"points": [[5, 5]], "labels": [0]},
    ]
    found = ask(client, image_id=image, objects=objects, format="coco_rle")["objects"]
    assert mask_of(found[0])[100, 100]
    assert "outside the image of 400x300 pixels" in found[1]["error"]
    assert mask_of(found[2])[150, 250]
    assert "only points that are not on the object" in found[3]["error"]


def test_a_request_has_the_budget_of_a_click(counting: tuple[Counting, FlaskClient]) -> None:
    """What does not fit follows with the next request."""
    engine, client = counting
    image = embed(client)
    objects = [{"points": [[5 * n, 100]]} for n in range(DECODES_A_REQUEST + 6)]
    found = ask(client, image_id=image, objects=objects)["objects"]
    assert sum("error" in each for each in found) == 6
    assert f"more than {DECODES_A_REQUEST} new masks" in found[-1]["error"]
    assert engine.decodes == DECODES_A_REQUEST
    again = ask(client, image_id=image, objects=objects)["objects"]
    assert not any("error" in each for each in again)


def test_everything_is_found(client: FlaskClient) -> None:
    image = embed(client)
    answer = ask(client, "/v1/everything", image_id=image, grid=4, most=3, format="coco_rle")
    assert 0 < len(answer["objects"]) <= 3
    assert all(mask_of(each).any() for each in answer["objects"])


def test_a_deleted_image_is_forgotten(counting: tuple[Counting, FlaskClient]) -> None:
    engine, client = counting
    image = embed(client)
    answer = segment(client, image, points=[[100, 100]])["answer_id"]
    assert client.delete(f"/v1/images/{image}").status_code == 204
    gone = problem(client.post("/v1/segment", json={"image_id": image, "points": [[1, 1]]}), 404)
    assert gone == "no image has this id, or it is no longer kept: embed the image again"
    problem(client.delete(f"/v1/images/{image}"), 404)
    again = embed(client)
    assert engine.encodes == 2, "its embedding is gone too"
    body = {"image_id": again, "mask_input": answer}
    assert "no answer about this image" in problem(client.post("/v1/segment", json=body), 404)


def test_an_image_stays_while_another_id_stands_for_it(
    counting: tuple[Counting, FlaskClient],
) -> None:
    engine, client = counting
    one, other = embed(client), embed(client)
    client.delete(f"/v1/images/{one}")
    assert segment(client, other, points=[[100, 100]])["area"] > 0
    assert engine.encodes == 1


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


def test_images_come_from_where_clicks_may_fetch_them(services: ServicesOf) -> None:
    refused = services()
    client = create_app(refused.settings, refused).test_client()
    with site() as host:
        host.routes["/a.png"] = always(200, picture())
        body = {"image": {"url": f"{host.url}/a.png"}}
        detail = problem(client.post("/v1/embed", json=body), 422)
        assert "is on a private address" in detail
        assert "ALLOWED_IMAGE_HOSTS" in detail
        assert host.requests == []
        allowed = services(ALLOWED_IMAGE_HOSTS="127.0.0.1")
        client = create_app(allowed.settings, allowed).test_client()
        image = ask(client, "/v1/embed", **body)["image_id"]
        assert segment(client, image, points=[[100, 100]])["area"] > 0
        assert len(host.requests) == 1


def test_what_is_at_an_address_now_is_embedded(
    services: ServicesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, start = services(ALLOWED_IMAGE_HOSTS="127.0.0.1"), time.time()
    client = create_app(made.settings, made).test_client()
    with site() as host:
        body = {"image": {"url": f"{host.url}/a.png"}}
        host.routes["/a.png"] = always(200, picture())
        assert ask(client, "/v1/embed", **body)["width"] == 400
        host.routes["/a.png"] = always(200, picture(200, 100))
        later = start + loader.RECHECK_S + 1
        monkeypatch.setattr("sam_backend.images.loader.time.time", lambda: later)
        assert ask(client, "/v1/embed", **body)["width"] == 200


def test_no_token_and_no_local_file_is_used_for_a_program(
    services: ServicesOf, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    with site() as studio:
        studio.routes["/data/upload/a.png"] = always(200, picture())
        made = services(
            LABEL_STUDIO_URL=studio.url,
            LABEL_STUDIO_API_KEY="secret",
            LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=str(tmp_path),
        )
        client = create_app(made.settings, made).test_client()
        for url in (
            f"{studio.url}/data/upload/a.png",
            f"{studio.url}/data/local-files/?d=a.png",
            "/data/local-files/?d=a.png",
            "/data/upload/a.png",
            f"file://{tmp_path}/a.png",
            "s3://bucket/a.png",
        ):
            status = client.post("/v1/embed", json={"image": {"url": url}}).status_code
            assert status in (400, 422), url
        assert studio.requests == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "either 'image_id' or 'image'"),
        ({"image_id": 5}, "'image_id' is not a text"),
        ({"image_id": "x", "image": {}}, "either 'image_id' or 'image'"),
        ({"image": "x.jpg"}, 'neither {"url"'),
        ({"image": {"path": "x.jpg"}}, 'neither {"url"'),
        ({"image": {"base64": "§"}}, "not base64"),
        ({"image": {"url": "ftp://x/y"}}, "'ftp://x/y' is not an http or https address"),
        ({"image_id": "x", "point": [[1, 1]]}, "there is no field 'point' here"),
        ({"image_id": "x", "points": "1,1"}, "'points' is not a list"),
        ({"image_id": "x", "points": [[1, 1]] * 201}, "over 200 points"),
        ({"image_id": "x", "objects": []}, "a list of 1 to 100"),
        ({"image_id": "x", "objects": [[1, 1]]}, "is not an object with points"),
        ({"image_id": "x", "objects": [{"box2": 1}]}, "there is no field 'box2'"),
        ({"image_id": "x", "objects": [{}], "box": [1, 1, 2, 2]}, "not in both"),
        ({"image_id": "x", "format": "gif"}, "'format' is not one of polygon, rle"),
        ({"image_id": "x", "tolerance": -1}, "'tolerance' is not a number from 0 to 100"),
        ({"image_id": "x", "alternatives": 1.5}, "'alternatives' is not a whole number"),
        ({"image_id": "x", "alternatives": True}, "'alternatives' is not a number"),
        ({"image_id": "x", "mask_input": [[0.5]]}, "not the 'answer_id' of an earlier answer"),
    ],
)
def test_what_a_request_should_not_be(
    client: FlaskClient, body: dict[str, Any], message: str
) -> None:
    assert message in problem(client.post("/v1/segment", json=body), 400)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "there is no prompt"),
        ({"points": [["a", "b"]]}, "the points are not numbers"),
        ({"points": [[1, 2, 3]]}, "a point has two numbers"),
        ({"points": [[1, 2]], "labels": [3]}, "neither 1"),
        ({"points": [[1, 1e300]]}, "not finite"),
        ({"box": [1, 2, 3]}, "four numbers"),
        ({"points": [[1, 10**30]]}, "outside the image"),
        ({"points": [[None, 2]]}, "not finite"),
    ],
)
def test_what_a_prompt_should_not_be(
    client: FlaskClient, prompt: dict[str, Any], message: str
) -> None:
    response = client.post("/v1/segment", json={"image_id": embed(client), **prompt})
    assert message in problem(response, 422)


def test_an_image_that_cannot_be_used_is_a_problem(client: FlaskClient) -> None:
    response = client.post("/v1/embed", data=b"junk", content_type="image/png")
    assert "not an image of a known format" in problem(response, 422)
    assert client.post("/v1/embed", data=b"", content_type="image/png").status_code == 422


def test_too_large_an_image_is_a_problem(services: ServicesOf) -> None:
    made = services(MAX_IMAGE_MB="1")
    client = create_app(made.settings, made).test_client()
    response = client.post("/v1/embed", data=bytes(2 << 20), content_type="image/png")
    assert problem(response, 422) == "the image is over 1 MB (MAX_IMAGE_MB)"


def test_the_password_and_the_rules_for_browsers_are_those_of_clicks(services: ServicesOf) -> None:
    made = services(BASIC_AUTH_USER="ann", BASIC_AUTH_PASS="s3cret")
    client = create_app(made.settings, made).test_client()
    problem(client.post("/v1/embed", data=picture(), content_type="image/png"), 401)
    assert client.get("/try").status_code == 401
    auth = ("ann", "s3cret")
    for headers, status in (({"Origin": "http://evil.example"}, 403), ({}, 200)):
        response = client.post(
            "/v1/embed", data=picture(), content_type="image/png", headers=headers, auth=auth
        )
        assert response.status_code == status
    foreign = {"Sec-Fetch-Site": "cross-site"}
    problem(client.delete("/v1/images/x", headers=foreign, auth=auth), 403)
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):
        problem(client.post("/v1/embed", data=b"x", content_type=kind, auth=auth), 415)
        problem(client.post("/v1/segment", data=b"x", content_type=kind, auth=auth), 415)
    problem(client.post("/v1/segment", data=b"x", content_type="image/png", auth=auth), 415)


def test_a_fault_of_ours_is_a_problem_without_a_traceback(services: ServicesOf) -> None:
    class Broken(DiscEngine):
        def decode(self, *_args: Any, **_kwargs: Any) -> Any:
            raise MemoryError("out of arena")

    made = services(Broken())
    client = create_app(made.settings, made).test_client()
    body = {"image_id": embed(client), "points": [[1, 1]]}
    detail = problem(client.post("/v1/segment", json=body), 500)
    assert detail == "the back end failed: see its log"
    assert "no such" not in problem(client.get("/v1/nothing"), 404)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two workers with the real weights, as users start them."""
    if not WEIGHTS.is_dir():
        pytest.skip("no weights in models/mobile_sam: run ./download_models.sh")
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


def test_an_id_works_in_every_worker_at_once(served: str) -> None:
    """Also in the moment after it was made, when the embedding is still being written."""
    file = io.BytesIO()
    draw(list(Shape)).save(file, "PNG")
    headers = {"Content-Type": "image/png"}
    embedded = requests.post(f"{served}/v1/embed", file.getvalue(), headers=headers, timeout=60)
    image = embedded.json()["image_id"]
    x, y = Shape.DISC.centre

    def click(_: int) -> float:
        body = {"image_id": image, "points": [[x * WIDTH, y * HEIGHT]], "format": "coco_rle"}
        answer = requests.post(f"{served}/v1/segment", json=body, timeout=60)
        assert answer.ok, answer.text
        first = answer.json()["objects"][0]
        again = {"image_id": image, "mask_input": first["answer_id"], "format": "coco_rle"}
        repeated = requests.post(f"{served}/v1/segment", json=again, timeout=60).json()
        assert repeated["objects"][0]["mask"] == first["mask"]
        return iou(mask_of(first), Shape.DISC.mask())

    with ThreadPoolExecutor(4) as threads:
        assert min(threads.map(click, range(12))) > 0.95
    assert requests.delete(f"{served}/v1/images/{image}", timeout=60).status_code == 204
    body = {"image_id": image, "points": [[1, 1]]}
    for _ in range(6):
        assert requests.post(f"{served}/v1/segment", json=body, timeout=60).status_code == 404


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
