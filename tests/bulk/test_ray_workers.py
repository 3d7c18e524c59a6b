"""Bulk commands on a Ray cluster whose parts die: no task is missing, and none is done twice."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sam_backend import __main__ as program
from sam_backend import __version__
from sam_backend.bulk.prompted import Prompted
from sam_backend.settings import Settings
from tests.bulk import ray_cluster
from tests.bulk.desk import CONFIG, LIMIT_S, Desk, many_tasks
from tests.bulk.ray_cluster import Cluster
from tests.held import wait_until
from tests.loopback import Reply, Route, Site, site
from tests.needs import WEIGHTS, needs_weights

TOKEN = "5ecre7" * 7


class Studio:
    """Label Studio with one project, whose pictures only the token opens."""

    def __init__(self, served: Site, tasks: list[dict[str, Any]]) -> None:
        self.url = served.url
        self.predicted: list[int] = []  # tasks, in the order of their predictions
        self._tasks = {task["id"]: task for task in tasks}
        self._lock = threading.Lock()
        project = json.dumps({"label_config": CONFIG}).encode()
        served.routes["/api/projects/7"] = lambda auth, _: self._reply(auth, project)
        for size in (1, 50):
            page = f"/api/tasks?project=7&fields=all&page=1&page_size={size}"
            served.routes[page] = lambda auth, _: self._reply(auth, self._page())
        served.routes["/api/predictions/"] = self._predict

    def _reply(self, auth: str | None, content: bytes) -> Reply:
        return (200, {}, content) if auth == f"Token {TOKEN}" else (401, {}, b"{}")

    def _page(self) -> bytes:
        with self._lock:
            tasks = list(self._tasks.values())
            return json.dumps({"total": len(tasks), "tasks": tasks}).encode()

    def _predict(self, auth: str | None, body: bytes) -> Reply:
        prediction = json.loads(body)
        with self._lock:
            self.predicted.append(prediction["task"])
            self._tasks[prediction["task"]]["predictions"].append(prediction)
        return self._reply(auth, b"{}")


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    ray_cluster.need_ray()
    with ray_cluster.cluster() as cluster:
        yield cluster


def with_pictures(tasks: list[dict[str, Any]], served: Site) -> list[dict[str, Any]]:
    """The tasks, with pictures that Label Studio serves."""
    for task in tasks:
        header, _, encoded = task["data"]["image"].partition(",")
        path = f"/data/upload/7/{task['id']}.png"
        served.routes[path] = only_with_token(encoded)
        assert header.startswith("data:image/png;base64")
        task["data"]["image"] = path
    return tasks


class Gate:
    """Lets pictures through up to some task's."""

    def __init__(self) -> None:
        self._passed = 0
        self._changed = threading.Condition()

    def open(self, task: int) -> None:
        with self._changed:
            self._passed = task
            self._changed.notify_all()

    def before(self, task: int, route: Route) -> Route:
        """The route, for those who wait."""

        def reply(auth: str | None, body: bytes) -> Reply:
            with self._changed:
                self._changed.wait_for(lambda: task <= self._passed, LIMIT_S)
            return route(auth, body)

        return reply


def only_with_token(encoded: str) -> Callable[[str | None, bytes], Reply]:
    content = base64.b64decode(encoded)
    return lambda auth, _: (200, {}, content) if auth == f"Token {TOKEN}" else (401, {}, b"")


@needs_weights
def test_a_worker_a_node_and_the_run_die_and_every_task_is_done_once(
    nodes: Cluster, tmp_path: Path
) -> None:
    second = nodes.add()
    with site() as served:
        studio, gate = Studio(served, with_pictures(many_tasks(14, tmp_path), served)), Gate()
        for task in range(1, 15):
            path = f"/data/upload/7/{task}.png"
            served.routes[path] = gate.before(task, served.routes[path])
        desk = Desk(
            tmp_path,
            LABEL_STUDIO_URL=studio.url,
            LABEL_STUDIO_API_KEY=TOKEN,
            SAM_ENGINE="onnx",
            FETCH_SECONDS="90",
        )
        asked = "segment_with_prompts", "--project", "7", "--ray", nodes.address

        process = desk.start(*asked, "--workers", "2")
        gate.open(2)
        wait_until(lambda: len(studio.predicted) == 2 or process.poll() is not None)
        wait_until(nodes.head.workers)
        os.kill(nodes.head.workers()[0], signal.SIGKILL)
        wait_until(lambda: second.workers() or process.poll() is not None)
        second.kill()
        gate.open(4)
        wait_until(lambda: len(studio.predicted) == 4 or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        wait_until(lambda: not nodes.head.workers())

        gate.open(14)
        nodes.add()
        status, said, complained = desk.run(*asked)
        assert status == 0, complained
        assert "14 tasks: " in said
        assert sorted(studio.predicted) == list(range(1, 15))
    written = [path for path in nodes.folder.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


@needs_weights
def test_a_task_that_kills_each_worker_fails_after_three(nodes: Cluster, tmp_path: Path) -> None:
    with site() as served:
        tasks = with_pictures(many_tasks(3, tmp_path), served)
        studio = Studio(served, tasks)
        deaths: list[int] = []

        def deadly(_auth: str | None, _body: bytes) -> Reply:
            deaths.extend(nodes.head.workers())
            with contextlib.suppress(ProcessLookupError):
                os.kill(deaths[-1], signal.SIGKILL)
            return 200, {}, b""

        served.routes[tasks[1]["data"]["image"]] = deadly
        desk = Desk(
            tmp_path,
            LABEL_STUDIO_URL=studio.url,
            LABEL_STUDIO_API_KEY=TOKEN,
            SAM_ENGINE="onnx",
        )
        desk.write(tasks)
        status, said, _ = desk.run("segment_with_prompts", "--ray", nodes.address)
    assert status == 1
    assert "3 tasks: 2 with masks, 1 failed, at least in part; 4 regions\n" in said
    assert (
        "3 workers ended at this task: is there enough memory on their machines? (task 2)" in said
    )
    assert len(deaths) == 3
    assert [len(task["predictions"]) for task in desk.written()] == [2, 1, 2]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--ray", "127.0.0.1:9"], "no Ray cluster can be used at 127.0.0.1:9: "),
        (["--ray", "--preview", "p"], "--preview needs workers on this machine"),
        (["--ray", "127.0.0.1:9", "--devices", "cuda:1"], "with --ray, write cuda"),
    ],
)
@needs_weights
def test_it_says_why_it_cannot_begin(tmp_path: Path, options: list[str], complaint: str) -> None:
    ray_cluster.need_ray()
    desk = Desk(tmp_path)
    desk.write(many_tasks(1, tmp_path))
    status, said, complained = desk.run("segment_with_prompts", *options)
    assert (status, said) == (2, "")
    assert complaint in complained
    assert len(complained.splitlines()) == 1


def test_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert program.main(["segment_everything", "--project", "7", "--ray"]) == 2
    said = capsys.readouterr().err
    assert said == ("segment_everything: --ray needs Ray: pip install -r requirements-ray.txt\n")


@needs_weights
def test_machines_with_another_version_or_other_weights_take_no_part(
    settings: Callable[..., Settings],
) -> None:
    ray_cluster.need_ray()
    from sam_backend.bulk.ray_workers import RemoteWorker  # noqa: PLC0415 (Ray is optional)

    def opened(version: str, model_version: str, **environ: str) -> str:
        given = settings(SAM_ENGINE="onnx", **environ)
        return RemoteWorker().open(given, "7", CONFIG, Prompted(), version, model_version)

    weights = str(WEIGHTS)
    assert opened(__version__, "MobileSAM", MOBILESAM_CHECKPOINT=weights) == ""
    other = opened("0.1", "MobileSAM", MOBILESAM_CHECKPOINT=weights)
    assert other.endswith(f"has sam_backend {__version__}, and this run 0.1")
    other = opened(__version__, "SAM-B", MOBILESAM_CHECKPOINT=weights)
    assert other.endswith("has the weights MobileSAM, and this run SAM-B")
    assert "does not exist" in opened(__version__, "MobileSAM", MOBILESAM_CHECKPOINT="/nowhere")
