"""What a task carries of its annotator's unsaved work; nothing in it is taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Saved = Mapping[str, Any]  # a draft or an annotation

# Of one annotator in one task, and in one draft or annotation. Each click looks at all of them.
MOST_DRAFTS = 1000
MOST_RESULTS = 20_000


def mappings(values: object) -> list[Mapping[str, Any]]:
    """The objects in a list that should hold nothing else."""
    return [v for v in values if isinstance(v, Mapping)] if isinstance(values, list) else []


def newest(drafts: object) -> Saved | None:
    """The draft that was saved last. Label Studio sends only those of whoever clicks."""
    some = drafts[:MOST_DRAFTS] if isinstance(drafts, list) else None
    return max(mappings(some), key=lambda draft: name(draft.get("updated_at")), default=None)


def results(saved: Saved) -> list[Mapping[str, Any]]:
    """The results of a draft or annotation."""
    found = saved.get("result")
    return mappings(found[:MOST_RESULTS]) if isinstance(found, list) else []


def name(value: object) -> str:
    """An id, a label or a time. What is none of them, be it a list of megabytes, has no name."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
