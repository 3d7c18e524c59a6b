"""`SamMLBackend` as Label Studio's ML SDK sees it, in both of its lines."""

from __future__ import annotations

from collections.abc import Callable

from label_studio_ml.model import LabelStudioMLBase

from sam_backend.server.ml_backend import SamMLBackend
from sam_backend.services import Services
from tests.fakes import BRUSH_LABELS, keypoint, request_body

ServicesOf = Callable[..., Services]


def test_it_is_a_label_studio_ml_model() -> None:
    assert issubclass(SamMLBackend, LabelStudioMLBase)


def test_as_version_1_0_9_uses_it(services: ServicesOf) -> None:
    model = SamMLBackend(
        label_config=BRUSH_LABELS,
        train_output={},
        hostname="http://studio.example",
        access_token="t",
        services=services(),
    )
    body = request_body([keypoint("a", 50, 50)])
    params = {"login": None, "password": None, "context": body["params"]["context"]}
    (answer,) = model.predict(body["tasks"], **params)
    assert answer["result"][0]["type"] == "brushlabels"
    assert set(model.parsed_label_config) == {"tag", "tag2", "tag3"}


def test_as_the_2_x_line_uses_it(services: ServicesOf) -> None:
    model = SamMLBackend(project_id="1", label_config=BRUSH_LABELS, services=services())
    body = request_body([keypoint("a", 50, 50)])
    (answer,) = model.predict(
        body["tasks"], context=body["params"]["context"], login=None, password=None
    )
    assert answer["result"][0]["value"]["brushlabels"] == ["Car"]
    opened = request_body(None)["tasks"]
    assert model.predict(opened, context=None) == [[]]


def test_the_2_x_lines_store_gets_the_constant_model_version(services: ServicesOf) -> None:
    class Stored(SamMLBackend):
        """The 2.x base class calls `setup()` and offers `set()`."""

        def set(self, key: str, value: str) -> None:
            self.stored = (key, value)

    model = Stored(project_id="1", label_config=BRUSH_LABELS, services=services())
    model.setup()
    assert model.stored == ("model_version", "test-model")


def test_it_can_be_constructed_without_a_label_config(services: ServicesOf) -> None:
    assert SamMLBackend(services=services()).predict([{"id": 1}]) == [[]]
