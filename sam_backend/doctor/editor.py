"""Do clicks arrive from the editor? Its own switches cannot be seen from here."""

from __future__ import annotations

from collections.abc import Sequence

from sam_backend.doctor.finding import Finding, good, unknown
from sam_backend.shared.click_log import ClickRecord

CHECK = "The editor"


def judge(clicks: Sequence[ClickRecord], project: int) -> Finding:
    """`clicks` are the last ones of all projects."""
    own = [click for click in clicks if click.project.partition(".")[0] == str(project)]
    if any(not click.is_check for click in own):
        return good(
            CHECK,
            "clicks of this project arrive. Where a click selects a rectangle, hold Ctrl "
            "(Cmd on a Mac).",
        )
    return unknown(
        CHECK,
        "no click of this project arrived lately.",
        "Open a task, switch on Auto-Annotation at the bottom, choose a label and the smart tool, "
        "and click.",
    )
