"""What a person reads is short and shows all of its characters, whoever chose them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from sam_backend import lines
from sam_backend.errors import Refusal

UNPRINTABLE = {
    "a line break": "\n",
    "a carriage return": "\r",
    "an escape sequence": "\x1b[31m",
    "a C1 control": "\x9b",
    "a backspace": "\b",
    "a null byte": "\0",
    "a line separator": "\u2028",
    "a paragraph separator": "\u2029",
    "a right-to-left override": "\u202e",
    "an isolate": "\u2066",
    "a zero-width space": "\u200b",
    "half of a pair": "\ud800",
}


@pytest.mark.parametrize("hidden", UNPRINTABLE.values(), ids=UNPRINTABLE.keys())
def test_unprintable_characters_are_escaped(hidden: str) -> None:
    line = lines.one_line(f"task 7{hidden}x")
    assert line.isprintable()
    assert line.startswith("task 7\\")
    assert line.encode()


def test_letters_of_all_languages_stay_as_they_are() -> None:
    for text in ("Größe 3 µm", "自動車", "машина", "سيارة", "🚗 car"):
        assert lines.one_line(text) == text


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    line = lines.one_line("cannot be reached: " + "x" * 9_000_000 + " set LABEL_STUDIO_URL")
    assert len(line) < lines.LONGEST + 50
    assert line.startswith("cannot be reached: ")
    assert line.endswith(" set LABEL_STUDIO_URL")
    assert "characters" in line


def test_a_refusal_is_one_short_line_wherever_it_is_shown() -> None:
    refusal = Refusal("config", "label " + "\n" * 9_000_000 + " is missing")
    assert len(str(refusal)) < 3 * lines.LONGEST
    assert str(refusal).isprintable()


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger, and what its handler wrote."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.addFilter(lines.readable)
    logger = logging.getLogger("test_lines")
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, written
    logger.removeHandler(handler)


def test_no_text_forges_a_line_of_the_log(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    for hidden in UNPRINTABLE.values():
        logger.warning("task %s: no image", f"7{hidden}ERROR forged")
    logger.warning("%(r)s", {"r": "GET /\r\nERROR forged"})  # as gunicorn's access log does it
    logged = written.getvalue().splitlines()
    assert len(logged) == len(UNPRINTABLE) + 1
    assert all(line.startswith(("WARNING task 7\\", "WARNING GET /\\r\\n")) for line in logged)


def test_a_line_of_the_log_has_a_bound(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.warning("task %s", "7" * 9_000_000)
    assert len(written.getvalue()) < 3_000


def test_the_lines_of_a_traceback_are_marked_and_bounded(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, written = log
    for message in ("bad\nERROR forged \x1b[31m", "x" * 9_000_000, "x\n" * 1_000_000):
        logger.error("task 7", exc_info=ValueError(message))
    head, *rest = written.getvalue().splitlines()
    assert head == "ERROR task 7"
    assert rest[:2] == ["  | ValueError: bad", "  | ERROR forged \\x1b[31m"]
    assert all(line.startswith("  | ") or line == "ERROR task 7" for line in rest)
    assert "\x1b" not in written.getvalue()
    assert len(written.getvalue()) < 200_000
