"""Clicks of Label Studio, sent to a server in this process."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from flask.testing import FlaskClient

from sam_backend.formats import rle
from tests.fakes import (
    request_body,
)

JSON = "application/json"


def post(client: FlaskClient, route: str, body: object) -> Any:
    response = client.post(route, data=orjson.dumps(body), content_type=JSON)
    assert response.status_code == 200, response.text
    return orjson.loads(response.data)


def click(client: FlaskClient, *context: dict[str, Any], **more: Any) -> Any:
    """The answer to a click: a dict, as the editor needs it, also when there is no mask."""
    (answer,) = post(client, "/predict", request_body(context, **more))["results"]
    assert set(answer) == {"result", "score", "model_version"}
    return answer


def mask_of(region: dict[str, Any]) -> npt.NDArray[np.bool_]:
    value = region["value"]
    assert value["format"] == "rle"
    return rle.decode(value["rle"], region["original_height"], region["original_width"])


def errors(client: FlaskClient) -> list[str]:
    return [error["message"] for error in client.get("/").get_json()["last_errors"]]
