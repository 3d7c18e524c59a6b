"""Requests of programs, sent to a server in this process."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from sam_backend.exports import coco_rle
from tests.fakes import picture


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
