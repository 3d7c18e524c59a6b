"""*Check my Label Studio* on the status page: the doctor's findings as JSON or as a page."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from html import escape
from typing import Any

from werkzeug.exceptions import BadRequest, TooManyRequests

from sam_backend.doctor.examination import Subject, examine
from sam_backend.doctor.finding import Finding, Verdict, unknown
from sam_backend.services import Services

# Label Studio may take long for each answer, and so may the hosts of images.
CHECK_S = 90.0
_MOST_PROJECT = 1 << 31
_MOST_DIGITS = 12  # Python refuses to read thousands


class Checks:
    """One check at a time: it asks Label Studio a dozen questions."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running = threading.Lock()

    def findings(self, asked: Mapping[str, Any], page_address: str) -> list[Finding]:
        """The findings for what a form or a JSON body asks.

        The request cannot choose an address for Label Studio to connect to. Otherwise a visitor of
        this page could look around in Label Studio's network. So the findings only name the
        address of the page.
        """
        subject = Subject(
            self._services,
            _project(asked.get("project")),
            page_address.rstrip("/"),
            local_address=f"http://localhost:{self._services.settings.port}",
        )
        if not self._running.acquire(blocking=False):
            raise TooManyRequests("a check is running already: wait until it is done")
        try:
            return _in_time(subject)
        finally:
            self._running.release()


def _in_time(subject: Subject) -> list[Finding]:
    found: list[Finding] = []
    until = time.monotonic() + CHECK_S
    for finding in examine(subject):
        found.append(finding)
        if time.monotonic() > until:
            found.append(unknown("The rest", f"it was not checked within {CHECK_S:.0f} seconds."))
            break
    return found


def _project(value: object) -> int | None:
    text = str(value or "").strip()
    if not text:
        return None
    number = int(text) if text.isdecimal() and text.isascii() and len(text) <= _MOST_DIGITS else 0
    if not 0 < number < _MOST_PROJECT:
        raise BadRequest("'project' is not the number of a project")
    return number


def as_json(findings: list[Finding]) -> dict[str, Any]:
    return {
        "findings": [
            {
                "check": finding.check,
                "state": finding.state.name.lower(),
                "says": finding.says,
                "remedy": finding.remedy,
            }
            for finding in findings
        ]
    }


def as_rows(findings: list[Finding]) -> str:
    """The findings as a list, for a page."""
    return f'<ul class="findings">{"".join(map(_row, findings))}</ul>'


def _row(finding: Finding) -> str:
    remedy = f"<br>{escape(finding.remedy)}" if finding.remedy else ""
    word = {Verdict.GOOD: "good", Verdict.BAD: "problem", Verdict.UNKNOWN: "not known"}[
        finding.state
    ]
    return (
        f'<li class="{finding.state.name.lower()}">'
        f'<span class="sign" role="img" aria-label="{word}">{finding.state.value}</span> '
        f"<b>{escape(finding.check)}</b>: {escape(finding.says)}{remedy}</li>"
    )
