"""What requests leave behind has a bound: on the status page, in the log, in files, in memory."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from sam_backend.clicks.joining import EarlierClick
from sam_backend.clicks.prompts import Prompt, Target
from sam_backend.embeddings.content_index import ContentIndex
from sam_backend.server.app import create_app
from sam_backend.server.ml_backend import SamMLBackend
from sam_backend.services import Services
from sam_backend.shared import earlier_clicks, kept_shapes, projects, refusal_records
from sam_backend.shared.projects import StudioConnection
from sam_backend.shared.refusal_records import RefusalRecord
from sam_backend.shared.state import State
from tests.fakes import BRUSH_LABELS, keypoint, request_body
from tests.shades import change_memory

MB = 1 << 20
STUDIO = StudioConnection("http://studio.example", "f00d")
TARGET = Target("image", None, ("Car",), 40, 30, 0.0)


def with_id(task_id: object) -> dict[str, Any]:
    body = request_body([keypoint("a", 50, 50)], image="no://where")
    body["tasks"][0]["id"] = task_id
    return body


def saved(labels: dict[str, Any], project: object = 1) -> dict[str, Any]:
    """A webhook about an annotation with one polygon."""
    place = {"type": "polygonlabels", "original_width": 40, "original_height": 30}
    region = {"id": "r", **place, "value": {"points": [[1, 1], [9, 1], [9, 9]], **labels}}
    return {
        "action": "ANNOTATION_CREATED",
        "project": {"id": project, "created_at": "2026-11-26T00:00:00Z"},
        "annotation": {"id": 1, "result": [region]},
    }


LONG = {
    "a task's id": ("/predict", with_id("7" * MB)),
    "a project's id": ("/setup", {"project": "7" * MB, "schema": "<no xml"}),
    "a project that is none": ("/setup", {"project": ["7" * MB], "schema": "<no xml"}),
    "a label": ("/predict", request_body([keypoint("a", 50, 50, label="L" * MB)])),
    "a prompt's id": ("/predict", request_body([keypoint("k" * MB, 50, 50)])),
    "an image's name": ("/predict", request_body([keypoint("a", 50, 50, to_name="i" * MB)])),
    "an image's size": ("/predict", request_body([keypoint("a", 50, 50, original_width="9" * MB)])),
    "an address": ("/predict", request_body([keypoint("a", 50, 50)], image="http://" + "h" * MB)),
    "a path": ("/predict", request_body([keypoint("a", 50, 50)], image="/data/" + "h" * MB)),
    "a tag's name": ("/setup", {"project": "7", "schema": "<View><" + "V" * MB + "/>"}),
    "an address of Label Studio": (
        "/setup",
        {"project": "7", "hostname": "http://h/" + "s" * MB, "access_token": "t" * MB},
    ),
    "extra params": ("/setup", {"project": "7", "extra_params": {"candidates": "9" * MB}}),
    "a webhook's task": ("/webhook", {"action": "ANNOTATION_CREATED", "task": {"id": "7" * MB}}),
}


@pytest.mark.parametrize("part", LONG)
def test_however_long_a_part_of_a_request_is(
    client: FlaskClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    route, body = LONG[part]
    with caplog.at_level(logging.INFO):
        answer = client.post(route, json=body)
    assert answer.status_code < 500
    assert sum(len(record.getMessage()) for record in caplog.records) < 20_000
    for accepted in ("text/html", "application/json"):
        assert len(client.get("/", headers={"Accept": accepted}).data) < 20_000
    assert sum(file.stat().st_size for file in tmp_path.glob("state*")) < 200_000


HIDDEN = "\0" + "7" * MB  # SQLite finds no characters before the first NUL


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/setup", {"project": HIDDEN}),
        ("/predict", with_id(HIDDEN)),
        ("/webhook", saved({"polygonlabels": [HIDDEN]})),
        ("/webhook", saved({"polygonlabels": ["Car"]}, project=HIDDEN)),
    ],
)
def test_a_nul_at_the_start_hides_no_megabyte(
    services: Callable[..., Services], tmp_path: Path, route: str, body: dict[str, Any]
) -> None:
    made = services()
    client = create_app(made.settings, made).test_client()
    assert client.post(route, json=body).status_code == 200
    made.learning.handle_event(body)
    assert sum(file.stat().st_size for file in tmp_path.glob("*.sqlite3")) < 200_000
    assert len(client.get("/").data) < 20_000


def test_the_problems_of_a_config_are_short_lines(client: FlaskClient) -> None:
    control = """<KeyPointLabels name='{n}' toName='image' smart='true'>
        <Label value='{n}'/></KeyPointLabels></View>"""
    config = BRUSH_LABELS
    for number in range(8):
        config = config.replace("</View>", control.format(n=f"{number}" + "L" * 50_000))
    answer = client.post("/validate", json={"config": config})
    assert answer.get_json()["problems"]
    assert len(answer.data) < 20_000


def test_a_forged_task_id_is_spelled_out_wherever_it_is_shown(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.post("/predict", json=with_id("7\n2030-01-01 ERROR forged \x1b[31m\u202e"))
    (error,) = client.get("/").get_json()["last_errors"]
    assert error["where"] == "task 7\\n2030-01-01 ERROR forged \\x1b[31m\\u202e"
    assert error["where"] in caplog.text


def test_a_full_status_page_is_small(client: FlaskClient) -> None:
    for number in range(2 * refusal_records.LAST_REFUSALS):
        client.post("/predict", json=with_id(f"{number}" + "\n" * 100_000))
    page = client.get("/", headers={"Accept": "text/html"})
    assert len(page.get_data()) < 200_000
    assert len(client.get("/").get_json()["last_errors"]) == refusal_records.LAST_REFUSALS


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A state with room for 20 rows a table."""
    monkeypatch.setattr(earlier_clicks, "LAST_CLICKS", 20)
    monkeypatch.setattr(projects, "LAST_SETUPS", 20)
    monkeypatch.setattr(refusal_records, "LAST_REFUSALS", 20)
    return State(tmp_path / "state.sqlite3")


def rows(shared: State, table: str) -> int:
    db = sqlite3.connect(shared.path)
    count: int = db.execute(f"select count(*) from {table}").fetchone()[0]
    db.close()
    return count


def test_the_projects_that_were_set_up_last_are_remembered(shared: State) -> None:
    shared.remember_setup("in use", STUDIO, {"candidates": 2})
    for number in range(50):
        shared.remember_setup(f"p{number}", STUDIO, {})
        shared.remember_setup("in use", None, {"candidates": 3})
    assert rows(shared, "setups") == 20
    assert shared.project("in use").from_setup == STUDIO
    assert shared.project("in use").extra_params == {"candidates": 3}
    assert shared.project("p49").from_setup == STUDIO
    assert shared.project("p0").from_setup is None


def test_the_tasks_that_were_clicked_last_are_remembered(shared: State) -> None:
    for number in range(50):
        change_memory(shared, "p", f"{number}", TARGET, lambda memory: memory_of("a"))
    assert rows(shared, "memory") == 20


def test_a_refusal_that_comes_again_and_again_displaces_no_other(shared: State) -> None:
    for number in range(10):
        shared.add_refusals([RefusalRecord(1.0, f"task {number}", "image", "gone")])
    for _ in range(100):
        shared.add_refusals([RefusalRecord(2.0, "clicks", "busy", "too busy")])
    assert rows(shared, "refusals") == 11


def test_the_last_refusals_of_a_batch_are_kept(shared: State) -> None:
    many = [RefusalRecord(float(n), f"task {n}", "batch", "gone") for n in range(1000)]
    shared.add_refusals([*many, many[-1]])
    kept = shared.refusals() or []
    assert [refusal.where for refusal in kept[:2]] == ["task 999", "task 998"]
    assert len(kept) == 19  # the last one came twice


def memory_of(*prompt_ids: str) -> EarlierClick:
    return EarlierClick(tuple(Prompt(id_, 1.0, 1.0) for id_ in prompt_ids), "", time.time())


def test_prompts_with_names_of_megabytes_are_not_remembered_nor_are_those_before_them(
    shared: State,
) -> None:
    seen: list[EarlierClick] = []

    def look(memory: EarlierClick) -> EarlierClick:
        seen.append(memory)
        return memory

    change_memory(shared, "p", "1", TARGET, lambda _: memory_of("a"))
    change_memory(shared, "p", "1", TARGET, lambda _: memory_of("a", "b" * MB))
    change_memory(shared, "p", "1", TARGET, look)
    assert seen[0].prompts == ()
    change_memory(shared, "p", "1", TARGET, lambda _: memory_of(*map(str, range(200))))
    change_memory(shared, "p", "1", TARGET, look)
    assert len(seen[1].prompts) == 200


def test_long_values_are_left_out_and_the_file_stays_in_use(
    shared: State, caplog: pytest.LogCaptureFixture
) -> None:
    shared.remember_setup("1", STUDIO, {"x": "y" * MB})
    assert shared.project("1").from_setup == STUDIO
    assert shared.project("1").extra_params == {}
    assert "extra params are left out" in caplog.text
    caplog.clear()
    shared.remember_setup("1", StudioConnection("http://studio.example", "t" * MB), {})
    shared.remember_setup("p" * MB, STUDIO, {})
    change_memory(shared, "p" * MB, "1", TARGET, lambda _: memory_of("a"))
    change_memory(shared, "p", "1", Target("i", None, ("L" * MB,), 4, 3, 0.0), lambda m: m)
    shared.believe("http://studio.example/" + "x" * MB)
    shared.add_refusals([RefusalRecord(1.0, "x", "image", "x" * MB)])
    assert caplog.text == ""
    assert shared.project("1").from_setup == STUDIO
    assert shared.path.stat().st_size < 200_000


def test_a_file_of_a_version_without_bounds_is_begun_anew(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "state.sqlite3")
    db.execute("create table refusals (time real, place text, cause text, message text)")
    db.execute("insert into refusals values (1, 'task 7', 'image', ?)", ("x" * MB,))
    db.commit()
    db.close()
    found = State.in_folder(tmp_path)
    assert found.refusals() == []
    assert found.path.stat().st_size < 200_000


def test_names_of_megabytes_are_no_keys_of_caches(services: Callable[..., Services]) -> None:
    """Their values are counted or few, and a key of a megabyte would count for nothing."""
    made = services()
    client = create_app(made.settings, made).test_client()
    name = "7" * MB
    size = {"original_width": 400, "original_height": 300, "to_name": "image"}
    outline = {"points": [[1, 1], [9, 1], [9, 9]], "polygonlabels": ["Car"]}
    region = {"id": name, "type": "polygonlabels", "value": outline, **size}
    click = keypoint("k", 1, 1, positive=False)
    body = request_body([click], drafts=[{"updated_at": "1", "result": [region]}])
    body["tasks"][0]["id"], body["project"] = name, name
    with patch.object(kept_shapes, "SETTLED_NS", 0):  # its file is as new as this test
        assert client.post("/predict", json=body).status_code == 200
    latest, masks = made.memory.latest._latest, made.masks.objects._masks._values
    shapes = made.learning._kept._answers
    assert len(latest) == len(masks) == len(shapes) == 1
    assert len(repr([*latest, *masks, *shapes])) < 10_000


def test_a_validator_of_a_megabyte_is_not_kept(tmp_path: Path) -> None:
    index = ContentIndex(tmp_path / "sources.sqlite3")
    index.put("http://h/a.png", "content", '"' + "e" * MB + '"')
    found = index.get("http://h/a.png")
    assert found is not None
    assert (found.content, found.validator) == ("content", None)


def test_models_with_large_configs_are_not_kept(
    services: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = services()
    built: list[str] = []
    app = create_app(made.settings, made)
    construct = SamMLBackend.__init__

    def counted(backend: SamMLBackend, **given: Any) -> None:
        built.append(given["label_config"])
        construct(backend, **given)

    monkeypatch.setattr(SamMLBackend, "__init__", counted)
    client = app.test_client()

    def click(config: str) -> None:
        client.post("/predict", json=request_body([keypoint("a", 50, 50)], config, image="x"))

    for _ in range(3):
        click(BRUSH_LABELS)
    assert len(built) == 1
    for number in range(10):
        click(BRUSH_LABELS + f"<!--{number}-->" + " " * (MB // 2))
    click(BRUSH_LABELS + "<!--0-->" + " " * (MB // 2))
    assert len(built) == 12  # the first of them is not there any more


def test_metrics_have_as_many_lines_however_many_kinds_of_requests_come(
    client: FlaskClient,
) -> None:
    def lines() -> int:
        return sum(len(metric.samples) for metric in REGISTRY.collect())

    client.get("/no-such-page")
    client.open("/predict", method="PUT")
    client.post("/predict", json=with_id(0))
    before = lines()
    for number in range(50):
        client.get(f"/no-such-page-{number}")
        client.open("/predict", method=f"PUT{number}")
        client.post(f"/predict?{number}", json=with_id(number))
    assert lines() == before
