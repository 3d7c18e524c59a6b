"""Safe lines for the log, the status page and answers: short, with every character visible.

Lines quote text from requests: ids, labels, addresses. A line break in them could forge a log
line, an escape sequence could control the terminal, and megabytes of text could fill the disk.
"""

from __future__ import annotations

import logging
import traceback

LONGEST = 600  # characters of a line, before unprintable ones are escaped
LONGEST_ID = 100

_LONGEST_LOGGED = 2_000
_LONGEST_TRACEBACK = 20_000


def one_line(text: object, longest: int = LONGEST) -> str:
    """The text as one line in which every character is visible.

    A long line loses its middle: the beginning says what happened, and the end what to do.
    """
    line = str(text)
    if len(line) > longest:
        end = longest // 3
        line = f"{line[: longest - end]} … ({len(line):,} characters) … {line[-end:]}"
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else _spelled_out(char) for char in line)


def readable(record: logging.LogRecord) -> bool:
    """A filter for log handlers: makes each record one line and marks the lines of a traceback.

    It belongs at the handler, so that it also covers the records of other packages.
    """
    record.msg, record.args = one_line(record.getMessage(), _LONGEST_LOGGED), ()
    if record.exc_info and record.exc_info[1]:
        record.exc_text = _traceback(record.exc_info[1])
    return True


def _traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error)).rstrip("\n")
    half = _LONGEST_TRACEBACK // 2
    if len(text) > _LONGEST_TRACEBACK:
        text = f"{text[:half]}\n… ({len(text):,} characters) …\n{text[-half:]}"
    return "\n".join(f"  | {one_line(line, _LONGEST_LOGGED)}" for line in text.split("\n"))


def _spelled_out(char: str) -> str:
    return char.encode("unicode_escape").decode()
