"""Reads the tasks of a Label Studio export one at a time, so that the file may be large."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sam_backend.errors import Refusal
from sam_backend.formats import bodies

_CHUNK = 1 << 20
# A bracket, a string, or the first quote of a string without an end.
_MARK = re.compile(rb'["{}\[\]](?:(?<=")[^"\\]*(?:\\.[^"\\]*)*")?', re.DOTALL)
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")

Report = Callable[[str], None]  # receives a line for people: what is left out, and why


def read(
    path: Path, report: Report, *, needs_annotations: bool = True
) -> Iterator[Mapping[str, Any]]:
    """The tasks of a file. Their brush masks are strings, see `bodies.parse`.

    An item that is not a task is reported and left out. Refusal if the first item is not a task.
    """
    number = 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(items(file), start=1):
                try:
                    yield _task(text, needs_annotations=needs_annotations)
                except ValueError as error:
                    if number == 1:
                        raise _no_export(path, error) from None
                    report(f"task number {number} of {path}: {error}")
    except OSError as error:
        raise Refusal("file", f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        if number == 0:
            raise _no_export(path, error) from None
        report(f"{path}, after task number {number}: {error}")


def items(file: BinaryIO) -> Iterator[bytes]:
    """The objects of a JSON array in a file, as bytes. ValueError if it is invalid or cut off."""
    text, depth = b"", 0
    begin = at = 0  # of the current object; of the text not scanned yet
    while more := file.read(max(_CHUNK, len(text))):  # twice as much each time, for large objects
        text += more
        for mark in _MARK.finditer(text, at):
            if mark[0] == b'"':
                break  # the end of this string has not been read yet
            at = mark.end()
            if mark[0] in _OPENING:
                depth += 1
                begin = mark.start() if depth <= 2 else begin
            elif depth == 0:
                raise ValueError("it does not begin with a list")
            elif mark[0] in _CLOSING:
                depth -= 1
                if depth == 1:
                    yield text[begin:at]
                elif depth == 0:
                    return
        begin = at if depth < 2 else begin
        text, at, begin = text[begin:], at - begin, 0
    raise ValueError("it ends in the middle" if depth else "it does not begin with a list")


def _task(text: bytes, *, needs_annotations: bool) -> Mapping[str, Any]:
    task = bodies.parse(text)
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise ValueError("it has no data. Export as JSON, not as JSON-MIN")  # noqa: TRY004
    if needs_annotations and not isinstance(task.get("annotations"), list):
        raise ValueError("it has no list of annotations")
    return task


def _no_export(path: Path, error: ValueError) -> Refusal:
    return Refusal("file", f"{path} is not a JSON export of Label Studio: {error}")
