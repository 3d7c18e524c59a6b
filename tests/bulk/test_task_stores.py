"""Tasks of a project, predictions into it, and files to import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sam_backend.bulk import task_stores
from sam_backend.bulk.journal import Journal
from sam_backend.bulk.task_stores import FileTasks, ProjectTasks, ToFile, ToLabelStudio
from sam_backend.errors import Refusal
from sam_backend.label_studio.api import StudioApi
from sam_backend.settings import Settings
from tests.loopback import Site, always, site

PREDICTION = {"result": [{"id": "m-a"}], "score": 0.5, "model_version": "v"}


@pytest.fixture
def studio() -> Iterator[Site]:
    """A Label Studio with a project of three tasks."""
    with site() as running:
        running.routes["/api/projects/7"] = always(200, b'{"id": 7, "label_config": "<View/>"}')
        yield running


def api(studio: Site) -> StudioApi:
    environ = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": "token"}
    return StudioApi(Settings.from_environment(environ))


def page(studio: Site, number: int, size: int, *ids: int) -> None:
    body = orjson.dumps({"total": 3, "tasks": [{"id": id_, "project": 7} for id_ in ids]})
    path = f"/api/tasks?project=7&fields=all&page={number}&page_size={size}"
    studio.routes[path] = always(200, body)


def test_the_tasks_of_a_project_come_page_by_page(
    studio: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_stores, "PAGE", 2)
    page(studio, 1, 1, 4)
    page(studio, 1, 2, 4, 5)
    page(studio, 2, 2, 6)
    tasks = ProjectTasks(api(studio), 7, [])
    assert (len(tasks), tasks.config_xml) == (3, "<View/>")
    assert [key for key, _ in tasks] == ["4", "5", "6"]


def test_chosen_tasks_must_be_of_the_project(studio: Site) -> None:
    studio.routes["/api/tasks/4"] = always(200, b'{"id": 4, "project": 7}')
    studio.routes["/api/tasks/9"] = always(200, b'{"id": 9, "project": 8}')
    tasks = iter(ProjectTasks(api(studio), 7, [9, 4]))
    assert next(tasks)[0] == "4"
    with pytest.raises(Refusal, match="task 9 does not belong to project 7"):
        next(tasks)


def test_a_prediction_goes_to_its_task(studio: Site) -> None:
    posted: list[Any] = []

    def accept(_auth: str | None, body: bytes) -> tuple[int, dict[str, str], bytes]:
        posted.append(orjson.loads(body))
        return 201, {}, b"{}"

    studio.routes["/api/predictions/"] = accept
    output = ToLabelStudio(api(studio))
    output.put("4", {"id": 4}, PREDICTION, complete=True)
    output.put("5", {"id": 5}, None, complete=True)
    assert posted == [{"task": 4, **PREDICTION}]


def written(path: Path, tasks: FileTasks, *, only: bool) -> Any:
    output = ToFile(path, "run", predictions_only=only)
    for key, task in tasks:
        output.put(key, task, PREDICTION if task["id"] == 2 else None, complete=True)
    output.finish(tasks, complete=True)
    return orjson.loads(path.read_bytes())


def test_files_hold_tasks_in_their_order_or_predictions_only(tmp_path: Path) -> None:
    source = tmp_path / "tasks.json"
    source.write_bytes(orjson.dumps([{"id": n, "data": {}, "predictions": [n]} for n in (3, 2, 1)]))
    tasks = FileTasks(source, "<View/>", [])
    whole = written(tmp_path / "a.json", tasks, only=False)
    assert [(task["id"], task["predictions"]) for task in whole] == [
        (3, []),
        (2, [PREDICTION]),
        (1, []),
    ]
    assert written(tmp_path / "b.json", tasks, only=True) == [{"task": 2, **PREDICTION}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json", "tasks.json"]


def test_tasks_that_a_file_lacks_are_named(tmp_path: Path) -> None:
    source = tmp_path / "tasks.json"
    source.write_bytes(b'[{"id": 1, "data": {}}]')
    with pytest.raises(Refusal, match="has no tasks 2, 3"):
        FileTasks(source, "<View/>", [1, 3, 2])


def test_predictions_alone_need_tasks_that_label_studio_has(tmp_path: Path) -> None:
    source = tmp_path / "tasks.json"
    source.write_bytes(b'[{"id": 1, "data": {}}, {"data": {}}]')
    with pytest.raises(Refusal, match="task number 2 in the file has no id of Label Studio"):
        FileTasks(source, "<View/>", []).check_that_label_studio_has_them()
    FileTasks(source, "<View/>", [1]).check_that_label_studio_has_them()


def test_an_id_of_another_type_is_one_line(tmp_path: Path) -> None:
    source = tmp_path / "tasks.json"
    source.write_bytes(b'[{"id": [1], "data": {}}]')
    with pytest.raises(Refusal, match="has a task whose id is not a number"):
        FileTasks(source, "<View/>", [1])


def test_a_journal_is_gone_on_with_and_half_a_line_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "out.json.part"
    journal = Journal(path, "run")
    journal.put("1", PREDICTION, complete=True)
    journal.put("2", None, complete=False)
    journal.close(remove=False)
    path.write_bytes(path.read_bytes() + b'["3",tr')
    journal = Journal(path, "run")
    assert [journal.has(key) for key in "123"] == [True, False, False]
    journal.put("2", {**PREDICTION, "score": 0.7}, complete=True)
    assert journal.prediction("1") == PREDICTION
    assert journal.prediction("2") == {**PREDICTION, "score": 0.7}
    assert journal.prediction("3") is None
    journal.close(remove=True)
    assert not path.exists()


def test_a_journal_killed_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.json.part"
    path.write_bytes(b'{"ru')
    Journal(path, "run").close(remove=False)
    journal = Journal(path, "run")
    journal.close(remove=True)


def test_two_runs_do_not_write_into_one_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "part", "run")
    with pytest.raises(Refusal, match="another run writes"):
        Journal(tmp_path / "part", "run")
    journal.close(remove=True)


def test_a_journal_of_another_run_is_left_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "part", "one").close(remove=False)
    with pytest.raises(Refusal, match="an unfinished run with other options"):
        Journal(tmp_path / "part", "two")
