"""What annotators keep changes which of the model's masks a click gets first, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from sam_backend.engines.frame import LOW_RES_SIDE, Floats
from sam_backend.engines.protocol import Embedding
from sam_backend.formats import rle
from sam_backend.server.app import create_app
from sam_backend.server.ml_backend import SamMLBackend
from sam_backend.services import Services
from tests.fakes import BRUSH_LABELS, DiscEngine, keypoint, request_body
from tests.held import wait_until
from tests.server.clicks import click, mask_of, post

PROJECT = "1.1795243155"
CREATED = datetime.fromtimestamp(1795243155, timezone.utc).isoformat().replace("+00:00", "Z")

ServicesOf = Callable[..., Services]
Event = dict[str, Any]


class SmallOrLarge(DiscEngine):
    """A small disc and a larger one around a click; it holds the larger one for better."""

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        x, y = embedding.frame.spots(points)[0]
        rows, columns = np.mgrid[:LOW_RES_SIDE, :LOW_RES_SIDE]
        distance = np.hypot(columns - x, rows - y)
        radii = np.array([12, 40, 12, 40])[:, None, None]
        return np.where(distance < radii, 8, -8).astype(np.float32), np.array(
            [0.7, 0.9, 0.7, 0.9], np.float32
        )


def kept(number: int, radius: float, count: int = 1, label: str = "Car", **more: Any) -> Event:
    """A webhook about an annotation with discs of this radius, in pixels."""
    rows, columns = np.mgrid[:300, :400]
    mask = np.hypot(columns - 200, rows - 150) < radius
    result = [
        {
            "id": f"r{index}x",
            "type": "brushlabels",
            "from_name": "tag",
            "to_name": "image",
            "original_width": 400,
            "original_height": 300,
            "value": {"format": "rle", "rle": rle.encode(mask), "brushlabels": [label]},
        }
        for index in range(count)
    ]
    return {
        "action": "ANNOTATION_CREATED",
        "task": {"id": 1},
        "project": {"id": 1, "created_at": CREATED},
        "annotation": {"id": number, "result": result},
        **more,
    }


def width(made: Services, label: str = "Car", project: str = PROJECT) -> int:
    """Of the mask that a click gets."""
    client = create_app(made.settings, made).test_client()
    body = request_body([keypoint("k", 50, 50, label=label)])
    (answer,) = post(client, "/predict", {**body, "project": project})["results"]
    return int(np.ptp(np.nonzero(mask_of(answer["result"][0]))[1]))


def is_small(made: Services, **more: str) -> bool:
    return width(made, **more) < 60


@pytest.fixture
def made(services: ServicesOf) -> Services:
    return services(SmallOrLarge())


def test_a_few_small_masks_make_the_next_click_small(made: Services) -> None:
    for annotation in range(4):
        made.learning.handle_event(kept(annotation, 18))
    assert not is_small(made)
    made.learning.handle_event(kept(4, 18))
    assert is_small(made)


def test_only_clicks_of_the_same_label_and_project_change(made: Services) -> None:
    made.learning.handle_event(kept(1, 18, count=9))
    assert is_small(made)
    assert not is_small(made, label="Bike")
    assert not is_small(made, project="1.1795249999")
    assert not is_small(made, project="2.1795243155")


def test_all_workers_know_and_a_restart_forgets_nothing(services: ServicesOf) -> None:
    services(SmallOrLarge()).learning.handle_event(kept(1, 18, count=9))
    assert is_small(services(SmallOrLarge()))


def test_a_click_that_was_answered_before_is_answered_anew(made: Services) -> None:
    assert not is_small(made)
    made.learning.handle_event(kept(1, 18, count=9))
    assert is_small(made), "the state of an earlier answer is not used"


def test_a_webhook_is_enough(made: Services) -> None:
    client = create_app(made.settings, made).test_client()
    post(client, "/webhook", kept(1, 18, count=9))
    wait_until(made.learning.known)  # it is read in the background
    assert is_small(made)


@pytest.mark.parametrize("line", ["1.0.9", "2.x"])
def test_the_sdks_fit_is_enough(made: Services, line: str) -> None:
    model = SamMLBackend(project_id=PROJECT, label_config=BRUSH_LABELS, services=made)
    data = kept(1, 18, count=9)
    event = data.pop("action")
    if line == "2.x":
        model.fit(event, data)
    else:
        model.fit((), event=event, data=data, job_id="7")
    wait_until(made.learning.known)
    assert is_small(made)


def test_the_payload_of_a_real_label_studio_is_understood(
    made: Services, payload: Callable[[str], Event]
) -> None:
    made.learning.handle_event(payload("webhook_annotation_created"))
    (known,) = made.learning.known()
    assert (known.project, known.label, known.count) == ("6.1795225349", "Car", 1)


def test_a_deleted_annotation_is_forgotten(made: Services) -> None:
    made.learning.handle_event(kept(1, 18, count=9))
    gone = kept(1, 18, action="ANNOTATIONS_DELETED", annotations=[{"id": 1}], annotation=None)
    made.learning.handle_event(gone)
    assert not is_small(made)


def test_a_cancelled_annotation_is_not_learnt_from(made: Services) -> None:
    event = kept(1, 18, count=9)
    event["annotation"]["was_cancelled"] = True
    made.learning.handle_event(event)
    assert made.learning.known() == []


@pytest.mark.parametrize(
    "forgetting",
    [
        lambda client: post(client, "/delete", {"project": PROJECT}),
        lambda client: post(
            client, "/webhook", {"action": "PROJECT_DELETED", "project": {"id": 1}}
        ),
        lambda client: post(
            client, "/setup", {"project": PROJECT, "extra_params": '{"learn": false}'}
        ),
    ],
    ids=["the model is taken away", "the project is deleted", "the project does not want it"],
)
def test_a_project_is_forgotten(made: Services, forgetting: Callable[[Any], object]) -> None:
    made.learning.handle_event(kept(1, 18, count=9))
    forgetting(create_app(made.settings, made).test_client())
    assert made.learning.known() == []
    assert not is_small(made)


def test_a_project_that_does_not_want_it_is_not_learnt_from(made: Services) -> None:
    client = create_app(made.settings, made).test_client()
    post(client, "/setup", {"project": PROJECT, "extra_params": '{"learn": false}'})
    made.learning.handle_event(kept(1, 18, count=9))
    assert made.learning.known() == []


def test_the_operator_switches_it_off(services: ServicesOf) -> None:
    services(SmallOrLarge()).learning.handle_event(kept(1, 18, count=9))
    off = services(SmallOrLarge(), LEARN="off")
    assert not is_small(off)
    assert off.learning.known() == []


def test_the_status_page_says_what_was_learnt(made: Services) -> None:
    made.learning.handle_event(kept(1, 18, count=6))
    made.learning.handle_event(kept(2, 18, count=2, label="<b>Bike</b>"))
    client = create_app(made.settings, made).test_client()
    assert client.get("/").get_json()["learnt"][0] == {
        "project": PROJECT,
        "label": "Car",
        "count": 6,
        "is_used": True,
    }
    page = client.get("/", headers={"Accept": "text/html"}).text
    assert "6 masks of Car in project 1;" in page
    assert "2 masks of &lt;b&gt;Bike&lt;/b&gt; in project 1 (too few)" in page


def test_two_numbers_of_a_mask_are_kept_and_nothing_else(made: Services, tmp_path: Path) -> None:
    made.learning.handle_event(kept(1, 18))
    (path,) = tmp_path.rglob("shapes.sqlite3")
    stored = b"".join(file.read_bytes() for file in path.parent.glob("shapes.sqlite3*"))
    assert b"Car" in stored
    assert b"brushlabels" not in stored
    assert b"from_name" not in stored


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"action": "ANNOTATION_CREATED", "annotation": {}},
        {"action": "ANNOTATION_CREATED", "annotation": [], "project": {"id": 1}},
        kept(1, 18, project={"id": [1], "created_at": CREATED}),
        kept(1, 18, project={"id": 1, "created_at": "yesterday"}),
        kept(1, 18, project={"id": 1, "created_at": 7}),
        kept(1, 18, annotation={"id": 1, "result": [{"type": "brush", "value": 3}]}),
        kept(1, 18, annotation={"id": {}, "result": "none"}),
        kept(1, 18, action="ANNOTATIONS_DELETED", annotations={"id": 1}),
        {"action": "PROJECT_DELETED", "project": [1]},
        {"action": ["ANNOTATION_CREATED"], "project": {"id": 1, "created_at": CREATED}},
    ],
)
def test_odd_events_do_no_harm(made: Services, event: Event) -> None:
    made.learning.handle_event(kept(1, 18, count=9))
    made.learning.handle_event(orjson.loads(orjson.dumps(event)))
    client = create_app(made.settings, made).test_client()
    assert post(client, "/webhook", event) == {"status": "ok"}
    assert click(client, keypoint("k", 50, 50))["result"]
