"""What programs may not ask for, and where their images may come from."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from sam_backend.images import downloads, sources
from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.shared.projects import StudioConnection
from tests.fakes import DiscEngine, picture
from tests.loopback import always, site
from tests.server.program_requests import ask, embed, problem, segment

ServicesOf = Callable[..., Services]


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
        later = start + downloads.RECHECK_S + 1
        monkeypatch.setattr("sam_backend.embeddings.content_index.time.time", lambda: later)
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


def test_what_a_click_fetched_with_the_token_is_not_for_a_program(services: ServicesOf) -> None:
    with site() as studio:
        studio.routes["/data/upload/a.png"] = always(200, picture())
        made = services(LABEL_STUDIO_URL=studio.url, LABEL_STUDIO_API_KEY="secret")
        client = create_app(made.settings, made).test_client()
        address = f"{studio.url}/data/upload/a.png"
        connection = StudioConnection(studio.url, "secret")
        made.images.embedding(sources.resolve(address, "1", connection, None))
        detail = problem(client.post("/v1/embed", json={"image": {"url": address}}), 422)
        assert "is on a private address" in detail


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
        ({"points": [[[1, 1], [2, 2]]]}, "a point has two numbers"),
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
