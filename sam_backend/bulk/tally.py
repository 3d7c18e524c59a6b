"""The results of a run, counted for its summary."""

from __future__ import annotations

from dataclasses import dataclass, field

from sam_backend.bulk.task_answer import TaskAnswer
from sam_backend.bulk.task_stores import Task

_NAMED = 8  # tasks to name for each reason


@dataclass
class Tally:
    """How many tasks got masks, and why others failed."""

    regions: int = 0
    masked: int = 0
    before: int = 0  # done by an earlier run
    nothing: int = 0
    failed: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)  # and the tasks' names

    @property
    def done(self) -> int:
        return self.masked + self.before + self.nothing + self.failed

    def add(self, task: Task, key: str, answer: TaskAnswer) -> None:
        for reason in answer.failures:
            self.reasons.setdefault(reason, []).append(str(task.get("id", f"no. {key}")))
        self.regions += len({str(region["id"]) for region in answer.regions})
        if answer.failures:
            self.failed += 1
        elif answer.regions:
            self.masked += 1
        else:
            self.nothing += 1

    def report(self, verb: str) -> str:
        parts = [f"{self.done} tasks: {self.masked} {verb}"]
        parts += [f"{self.before} done before"] if self.before else []
        parts += [f"{self.nothing} with nothing to do"] if self.nothing else []
        parts += [f"{self.failed} failed, at least in part"] if self.failed else []
        lines = [f"{', '.join(parts)}; {self.regions} regions"]
        for reason, names in sorted(self.reasons.items(), key=lambda item: -len(item[1])):
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            lines.append(f"  {reason} (task {', '.join(names[:_NAMED])}{more})")
        return "\n".join(lines)
