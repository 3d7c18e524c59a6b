"""Reports refusals to people: one line in the log, and one on the status page."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from sam_backend import metrics
from sam_backend.errors import Refusal
from sam_backend.lines import LONGEST_ID, one_line
from sam_backend.shared.refusal_records import RefusalRecord
from sam_backend.shared.state import State

logger = logging.getLogger("sam_backend")


class Refusals:
    """Reports refusals to the people who can act on them."""

    def __init__(self, state: State) -> None:
        self._state = state

    def report(self, where: str, refusal: Refusal) -> None:
        """`where` is, for example, `task 7` or `project 3`."""
        self.report_all([(where, refusal)])

    def report_all(self, refused: Iterable[tuple[str, Refusal]]) -> None:
        """The refusals of one request, which may have thousands: the state is written once."""
        records = []
        for given, refusal in refused:
            where = one_line(given, LONGEST_ID)
            logger.warning("%s: %s", where, refusal)
            metrics.REFUSALS.labels(refusal.cause).inc()
            records.append(RefusalRecord(time.time(), where, refusal.cause, str(refusal)))
        if records:
            self._state.add_refusals(records)
