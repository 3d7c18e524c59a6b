"""The progress of a run, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

_QUIET_S = 10.0  # between the lines of a log file


class _Lines(tqdm):  # type: ignore[type-arg]  # it iterates over nothing
    """Writes line by line, without the control characters that redraw a bar."""

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        return lambda text: print(text, file=file, flush=True)


def progress(total: int, stream: TextIO | None = None) -> tqdm[Any]:
    """A bar in a terminal; in a log file, a line now and then."""
    stream = stream or sys.stderr
    if stream.isatty():
        return tqdm(total=total, unit="task", file=stream)
    form = "{n_fmt}/{total_fmt} tasks, {rate_fmt}, {remaining} left"
    return _Lines(total=total, unit="task", file=stream, bar_format=form, mininterval=_QUIET_S)
