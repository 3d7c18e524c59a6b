"""The list of the last clicks: complete over workers, bounded, and no burden to any click."""

from __future__ import annotations

import logging
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sam_backend import watched_click
from sam_backend.clicks.prompts import Prompt
from sam_backend.shared.click_log import LAST_CLICKS, ClickLog, ClickRecord
from sam_backend.watched_click import THUMBNAIL_SIDE, WatchedClick
from tests.held import wait_until


def record(number: int, **more: Any) -> ClickRecord:
    click = WatchedClick()
    click.saw_prompts([Prompt("a", 1, 1), Prompt("b", 2, 2, is_positive=False)])
    made = ClickRecord.of(click, "3.1", str(number), "MobileSAM", 40_000)
    return ClickRecord(**{**made.__dict__, "time": float(number), **more})


def tasks(log: ClickLog) -> list[str]:
    return [click.task for click in log.last()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clicks.sqlite3"


def test_the_newest_click_comes_first_and_old_ones_go(path: Path) -> None:
    log = ClickLog(path)
    for number in range(2 * LAST_CLICKS):
        log.add(record(number))
        log.write()
    assert tasks(log) == [str(n) for n in range(2 * LAST_CLICKS - 1, LAST_CLICKS - 1, -1)]
    with sqlite3.connect(path) as db:
        assert db.execute("select count(*) from clicks").fetchone() == (LAST_CLICKS,)
    db.close()


def test_workers_see_the_clicks_of_each_other(path: Path) -> None:
    one, other = ClickLog(path), ClickLog(path)
    one.add(record(1))
    other.add(record(2))
    assert tasks(one)[-1] == "1"
    assert tasks(other) == ["2", "1"]
    assert tasks(one) == ["2", "1"]


def test_it_is_written_without_anybody_looking(path: Path) -> None:
    log, other = ClickLog(path), ClickLog(path)
    log.add(record(7))
    wait_until(lambda: tasks(other) == ["7"])


def test_clicks_that_nobody_wrote_yet_are_bounded(path: Path) -> None:
    log = ClickLog(path)
    with log._writing:  # a slow disk
        for number in range(1000):
            log.add(record(number))
        assert len(log._unwritten) == LAST_CLICKS
    assert len(log.last()) == LAST_CLICKS


def test_a_file_that_cannot_be_used_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = ClickLog(tmp_path / "no folder" / "clicks.sqlite3")
    with caplog.at_level(logging.INFO):
        log.add(record(1))
        assert log.last() == []
    assert caplog.records == []


def test_what_a_request_chooses_is_cut_and_made_one_line(path: Path) -> None:
    log = ClickLog(path)
    log.add(record(1, task="x\n" * 100_000, project="\x1b[31m"))
    (click,) = log.last()
    assert len(click.task) < 500
    assert click.task.isprintable()
    assert click.project.isprintable()


def test_the_prompts_in_words() -> None:
    assert record(1).prompts == "1 + / 1 −"  # noqa: RUF001 (a minus sign)
    assert record(1, positive=0, negative=0, boxes=1).prompts == "box"
    assert record(1, boxes=3, is_check=True).prompts == "1 + / 1 − / 3 boxes (a check)"  # noqa: RUF001
    assert record(1, positive=0, negative=0).prompts == "none"


def test_a_thumbnail_only_if_it_is_wanted(path: Path) -> None:
    mask = np.zeros((1500, 2241), bool)
    mask[:750] = True
    without, with_one = WatchedClick(), WatchedClick(keeps_thumbnail=True)
    without.saw_mask(mask)
    with_one.saw_mask(mask)
    assert without.thumbnail is None
    assert with_one.thumbnail is not None
    log = ClickLog(path)
    log.add(record(1), without.thumbnail)
    log.add(record(2), with_one.thumbnail)
    shown, plain = log.last()
    assert plain.thumbnail is None
    png = np.frombuffer(shown.thumbnail or b"", np.uint8)
    picture = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert max(picture.shape) <= THUMBNAIL_SIDE
    assert picture[0, 0] == 255
    assert picture[-1, 0] == 0


def test_stages_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(watched_click, "perf_counter", lambda: now)
    click = WatchedClick()
    with watched_click.watched(click):
        now = 1.0
        with watched_click.stage("image"):
            now = 3.0
            with watched_click.stage("encode"):
                now = 7.0
            now = 15.0
        now = 31.0
        click.stop()
    assert click.seconds == {"queue": 0, "image": 2 + 8, "encode": 4, "decode": 0, "answer": 1 + 16}
    assert watched_click.current() is not click


def test_a_stage_outside_a_click_is_of_nobody() -> None:
    click = WatchedClick()
    with watched_click.watched(click), ThreadPoolExecutor(1) as another:
        another.submit(_encode).result()
        click.stop()
    assert click.seconds["encode"] == 0


def _encode() -> None:
    with watched_click.stage("encode"):
        time.sleep(0.01)
