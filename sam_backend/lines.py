"""Lines for people, in the log, on the status page and in answers: short, and with nothing hidden.

Requests choose much of what a line quotes: ids, labels, addresses. A line break among them would
forge a line of the log, an escape sequence would act on the terminal that shows it, and megabytes
would fill the disk.
"""

from __future__ import annotations

import logging
import traceback

LONGEST = 600  # characters of a line, before what cannot be printed is spelled out
LONGEST_ID = 100

_LONGEST_LOGGED = 2_000
_LONGEST_TRACEBACK = 20_000


def shown(text: object, longest: int = LONGEST) -> str:
    """The text as one line that shows all of its characters. A long one loses its middle.

    Its beginning says what happened, its end what to do.
    """
    line = str(text)
    if len(line) > longest:
        end = longest // 3
        line = f"{line[: longest - end]} … ({len(line):,} characters) … {line[-end:]}"
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else _spelled_out(char) for char in line)


def readable(record: logging.LogRecord) -> bool:
    """A filter for log handlers: each record is one line, and the lines of a traceback are marked.

    At the handler, so that no call can forget it and other packages' records are covered too.
    """
    record.msg, record.args = shown(record.getMessage(), _LONGEST_LOGGED), ()
    if record.exc_info and record.exc_info[1]:
        record.exc_text = _traceback(record.exc_info[1])
    return True


def _traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error)).rstrip("\n")
    half = _LONGEST_TRACEBACK // 2
    if len(text) > _LONGEST_TRACEBACK:
        text = f"{text[:half]}\n… ({len(text):,} characters) …\n{text[-half:]}"
    return "\n".join(f"  | {shown(line, _LONGEST_LOGGED)}" for line in text.split("\n"))


def _spelled_out(char: str) -> str:
    return char.encode("unicode_escape").decode()
