"""What did this back end refuse a moment ago?"""

from __future__ import annotations

from collections.abc import Sequence

from sam_backend.doctor.finding import Finding, bad, good
from sam_backend.shared.refusal_records import RefusalRecord

CHECK = "Recent errors"
RECENT_S = 600.0
_MOST = 3


def judge(refusals: Sequence[RefusalRecord], now: float) -> list[Finding]:
    """`refusals` newest first, of all projects: a refusal names a task or a project."""
    recent = [refusal for refusal in refusals if now - refusal.time < RECENT_S]
    if not recent:
        return [good(CHECK, f"none in the last {RECENT_S / 60:.0f} minutes.")]
    return [_found(refusal, now) for refusal in recent[:_MOST]]


def _found(refusal: RefusalRecord, now: float) -> Finding:
    minutes = round((now - refusal.time) / 60)
    when = "just now" if minutes < 1 else f"{minutes} min ago"
    return bad(CHECK, f"{when}, {refusal.where}: {refusal.message}.")
