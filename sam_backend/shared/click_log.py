"""The last clicks of all workers, for the status page: a small SQLite file beside the state.

A click only puts its record into a list. A thread writes the list once a second, so that no answer
waits for the disk. A worker that is killed loses the records of its last second.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import orjson

from sam_backend.lines import LONGEST_ID, one_line
from sam_backend.shared.database import Database
from sam_backend.watched_click import STAGES, Mask, WatchedClick

logger = logging.getLogger("sam_backend")

LAST_CLICKS = 20
WRITE_EVERY_S = 1.0
_MOST_BYTES = 8_192

_SCHEMA = f"""
create table if not exists clicks (
    time real, record blob check (length(record) <= {_MOST_BYTES}),
    thumbnail blob check (length(thumbnail) <= {_MOST_BYTES})
);
"""


@dataclass(frozen=True)
class ClickRecord:
    """One click, as the status page shows it."""

    time: float
    project: str
    task: str
    positive: int
    negative: int
    boxes: int
    is_check: bool  # made by the doctor, not by an annotator
    engine: str
    milliseconds: dict[str, float]  # by stage
    regions: int
    outcome: str  # why there is no mask, in a word
    answer_bytes: int
    thumbnail: bytes | None = None  # a PNG of the mask, never of the picture

    @classmethod
    def of(
        cls, click: WatchedClick, project: str, task: str, engine: str, answer_bytes: int
    ) -> ClickRecord:
        """The record of a click that is answered now."""
        return cls(
            time.time(),
            project,
            task,
            click.positive,
            click.negative,
            click.boxes,
            click.is_check,
            engine,
            {stage: 1000 * seconds for stage, seconds in click.seconds.items()},
            click.regions,
            click.outcome,
            answer_bytes,
        )

    @property
    def prompts(self) -> str:
        """Such as `2 + / box`."""
        counts = [f"{self.positive} +" if self.positive else ""]
        counts += [f"{self.negative} −" if self.negative else ""]  # noqa: RUF001 (a minus sign)
        counts += ["" if not self.boxes else "box" if self.boxes == 1 else f"{self.boxes} boxes"]
        found = " / ".join(filter(None, counts)) or "none"
        return f"{found} (a check)" if self.is_check else found


@dataclass(frozen=True)
class _Unwritten:
    record: ClickRecord
    mask: Mask | None


class ClickLog:
    """Bounded, in memory and on disk. A file that cannot be used costs no click anything."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: Database | None = None
        self._unwritten: deque[_Unwritten] = deque(maxlen=LAST_CLICKS)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._is_new = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, record: ClickRecord, mask: Mask | None = None) -> None:
        """Returns at once. `mask` is the thumbnail (h, w), if there is one."""
        self._unwritten.append(_Unwritten(record, mask))
        if not self._is_new.is_set():
            self._is_new.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._write_on, name="write-clicks", daemon=True
                    )
                    self._thread.start()

    def last(self) -> list[ClickRecord]:
        """The last clicks, newest first. Another worker's newest ones may come a second later."""
        self.write()
        try:
            with self._opened().opened() as db:
                rows = db.execute(
                    "select record, thumbnail from clicks order by time desc limit ?",
                    (LAST_CLICKS,),
                ).fetchall()
            return [ClickRecord(**orjson.loads(row), thumbnail=png) for row, png in rows]
        except (OSError, sqlite3.Error, orjson.JSONDecodeError, TypeError) as error:
            logger.debug("%s cannot be read: %s", self._path, error)
            return []

    def write(self) -> None:
        """Writes what was added."""
        with self._writing:
            rows = []
            while self._unwritten:
                rows.append(_row(self._unwritten.popleft()))
            if not rows:
                return
            try:
                with self._opened().transaction() as db:
                    db.executemany("insert into clicks values (?, ?, ?)", rows)
                    db.execute(
                        "delete from clicks where rowid <= "
                        "(select rowid from clicks order by rowid desc limit 1 offset ?)",
                        (LAST_CLICKS,),
                    )
            except (OSError, sqlite3.Error) as error:
                logger.debug("%s cannot be written: %s", self._path, error)

    def _write_on(self) -> None:
        pause = threading.Event()
        while True:
            self._is_new.wait()
            pause.wait(WRITE_EVERY_S)
            self._is_new.clear()
            self.write()

    def _opened(self) -> Database:
        if self._database is None:
            self._database = Database(self._path, _SCHEMA)
        return self._database


def _row(unwritten: _Unwritten) -> tuple[float, bytes, bytes | None]:
    fields = asdict(unwritten.record)
    fields |= {name: one_line(fields[name], LONGEST_ID) for name in ("project", "task", "engine")}
    fields["milliseconds"] = {name: round(fields["milliseconds"][name], 1) for name in STAGES}
    fields.pop("thumbnail")
    png = None if unwritten.mask is None else _png(unwritten.mask)
    return fields["time"], orjson.dumps(fields), png


def _png(mask: Mask) -> bytes:
    return bytes(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1])
