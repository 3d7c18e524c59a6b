"""The answer to one task without a click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sam_backend.clicks.output import Result


@dataclass(frozen=True)
class TaskAnswer:
    """The new regions of a task, and a line for each one that failed."""

    regions: list[Result]
    failures: tuple[str, ...] = ()

    def prediction(self, model_version: str) -> dict[str, Any] | None:
        """The answer as a prediction. None if it is empty and would only hide the task."""
        if not self.regions:
            return None
        scores = {region["id"]: region["score"] for region in self.regions}
        return {
            "result": self.regions,
            "score": sum(scores.values()) / len(scores),
            "model_version": model_version,
        }
