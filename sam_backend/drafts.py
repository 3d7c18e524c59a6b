"""What a task carries of its annotator's unsaved work; nothing in it is taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Saved = Mapping[str, Any]  # a draft or an annotation


def mappings(values: object) -> list[Mapping[str, Any]]:
    """The objects in a list that should hold nothing else."""
    return [v for v in values if isinstance(v, Mapping)] if isinstance(values, list) else []


def newest(drafts: object) -> Saved | None:
    """The draft that was saved last. Label Studio sends only those of whoever clicks."""
    return max(mappings(drafts), key=lambda draft: str(draft.get("updated_at")), default=None)
