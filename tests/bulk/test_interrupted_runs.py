"""Runs that end too early: killed, without a worker, or with tasks that failed. None is lost."""

from __future__ import annotations

import base64
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bulk.desk import LIMIT_S, Desk, many_tasks
from tests.held import wait_until
from tests.loopback import Route, site
from tests.needs import needs_weights

pytestmark = needs_weights
FROM_LOOPBACK = {"ALLOWED_IMAGE_HOSTS": "127.0.0.1", "FETCH_SECONDS": "90"}


def lines_of(journal: Path) -> int:
    """The first line is of the run, and each other one of a task."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


@contextmanager
def late_pictures(tasks: list[dict[str, Any]]) -> Iterator[threading.Event]:
    """The pictures of these tasks come from a host that waits until the event is set."""
    go = threading.Event()

    def late(content: bytes) -> Route:
        return lambda _auth, _body: (200 if go.wait(LIMIT_S) else 500, {}, content)

    with site() as host:
        for number, task in enumerate(tasks):
            encoded = task["data"]["image"].partition(",")[2]
            host.routes[f"/{number}.png"] = late(base64.b64decode(encoded))
            task["data"]["image"] = f"{host.url}/{number}.png"
        yield go


def test_killed_and_run_again_nothing_is_missing_or_twice(tmp_path: Path) -> None:
    desk = Desk(tmp_path, **FROM_LOOPBACK)
    tasks = many_tasks(5, desk.folder)
    journal = desk.folder / "out.json.part"
    with late_pictures(tasks[2:]) as go:
        desk.write(tasks)
        process = desk.start("segment_with_prompts")
        wait_until(lambda: process.poll() is not None or lines_of(journal) == 3)
        assert process.poll() is None, process.communicate()[1]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not desk.output.exists()
        journal.write_bytes(journal.read_bytes() + b'["9",true,{"resu')  # killed within a line
        # No worker stays after the run was killed.
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))

        go.set()
        status, said, _ = desk.run("segment_with_prompts", "--workers", "2")
    assert status == 0
    assert "done before" in said
    assert not journal.exists()
    ids = [[r["id"] for r in task["predictions"][1]["result"]] for task in desk.written()]
    assert ids == [[f"m-d{n}", f"m-p{n}"] for n in range(5)]


def test_a_failed_task_is_reported_and_retried(desk: Desk) -> None:
    tasks = many_tasks(3, desk.folder)
    good = tasks[1]["data"]["image"]
    picture = desk.folder / "files" / "late.png"
    picture.parent.mkdir()
    tasks[1]["data"]["image"] = "/data/local-files/?d=late.png"
    tasks[2]["predictions"][0]["result"][0]["value"]["rectanglelabels"] = ["Boat"]
    desk.write(tasks)
    status, said, _ = desk.run("segment_with_prompts")
    assert status == 1
    assert said.startswith("3 tasks: 1 with masks, 2 failed, at least in part; 3 regions\n")
    assert "its address is not known" in said
    assert "label 'Boat' of the prompt is missing" in said
    assert [len(task["predictions"]) for task in desk.written()] == [2, 1, 2]

    tasks[1]["data"]["image"] = good
    desk.write(tasks)
    status, _, complained = desk.run("segment_with_prompts")
    assert status == 2
    assert "belongs to an unfinished run with other options, tasks or weights" in complained


def test_a_worker_that_dies_costs_one_task(tmp_path: Path) -> None:
    desk = Desk(tmp_path, **FROM_LOOPBACK)
    tasks = many_tasks(3, desk.folder)
    journal = desk.folder / "out.json.part"
    with late_pictures(tasks[1:2]) as go:
        desk.write(tasks)
        process = desk.start("segment_with_prompts")
        wait_until(lambda: process.poll() is not None or lines_of(journal) == 2)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
        said, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 1
        assert "1 failed, at least in part" in said
        assert "the worker ended with signal 9" in said
        go.set()
        status, said, _ = desk.run("segment_with_prompts")
    assert status == 0
    assert [len(task["predictions"]) for task in desk.written()] == [2, 2, 2]
