"""The finished predictions of a run, in a file beside its output, so that the run can be resumed.

The first line identifies the run. A killed run may leave half a line, which is removed.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import orjson

from sam_backend.errors import Refusal


class Journal:
    """Predictions on disk, by the keys of their tasks. The last one for a key counts."""

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise Refusal("output", f"{path} cannot be written: {error.strerror}") from None
        self._lines: dict[str, tuple[int, int]] = {}  # offset and length of each key's line
        self._incomplete: set[str] = set()
        try:
            self._lock()
            self._read(orjson.dumps({"run": run}))
        except Refusal:
            self._file.close()
            raise

    def has(self, key: str) -> bool:
        """Whether a task is done without a failure."""
        return key in self._lines and key not in self._incomplete

    def put(self, key: str, prediction: dict[str, Any] | None, *, complete: bool) -> None:
        line = orjson.dumps([key, complete, prediction]) + b"\n"
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        self._note(key, offset, len(line), complete=complete)

    def prediction(self, key: str) -> dict[str, Any] | None:
        """The stored prediction of a task, if any."""
        if key not in self._lines:
            return None
        offset, length = self._lines[key]
        self._file.seek(offset)
        found: dict[str, Any] | None = orjson.loads(self._file.read(length))[2]
        return found

    def close(self, *, remove: bool) -> None:
        if remove:
            self.path.unlink()
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal("output", f"another run writes to {self.path} now") from None

    def _read(self, header: bytes) -> None:
        self._file.seek(0)
        first = self._file.readline()
        if not first.endswith(b"\n"):  # new, or killed within the first line
            self._file.truncate(0)
            self._file.write(header + b"\n")
            self._file.flush()
            return
        if first.rstrip() != header:
            raise Refusal(
                "output",
                f"{self.path} belongs to an unfinished run with other options, tasks or "
                "weights: delete it, or choose another --output",
            )
        offset = len(first)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            key, complete, _ = orjson.loads(line)
            self._note(key, offset, len(line), complete=complete)
            offset += len(line)
        self._file.truncate(offset)

    def _note(self, key: str, offset: int, length: int, *, complete: bool) -> None:
        self._lines[key] = offset, length
        (self._incomplete.discard if complete else self._incomplete.add)(key)
