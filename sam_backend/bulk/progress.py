"""How far a run has come, on standard error."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 30
QUIET_S = 10.0  # between lines where nobody looks at a terminal


class Progress:
    """A bar with rate and time left; in a log file, a line now and then."""

    def __init__(self, total: int, unit: str, stream: TextIO = sys.stderr) -> None:
        self._total, self._unit, self._stream = total, unit, stream
        self._started = self._shown = time.monotonic()
        self._worked = 0  # the others were done before, and say nothing about the rate

    def show(self, done: int, *, worked: bool) -> None:
        now = time.monotonic()
        self._worked += worked
        live = self._stream.isatty()
        if done < self._total and now - self._shown < (0.1 if live else QUIET_S):
            return
        self._shown = now
        rate = self._worked / max(now - self._started, 1e-9)
        left = (self._total - done) / rate if rate else 0.0
        filled = WIDTH * done // max(1, self._total)
        bar = "█" * filled + "·" * (WIDTH - filled)
        line = f"{bar} {done}/{self._total} {self._unit}, {rate:.2f}/s, {_clock(left)} left"
        self._stream.write(f"\r{line}\033[K" if live else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        if self._stream.isatty():
            self._stream.write("\n")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
