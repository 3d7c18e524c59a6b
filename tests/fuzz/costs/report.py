"""What the worst of each family costs, as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.costs.server import MOST_MB, MOST_SECONDS, Cost


@dataclass
class _Row:
    cases: int = 0
    seconds: float = 0.0
    seconds_by: str = ""
    megabytes: float = 0.0
    megabytes_by: str = ""
    statuses: Counter[str] = field(default_factory=Counter)
    faults: dict[str, None] = field(default_factory=dict)

    def add(self, name: str, cost: Cost) -> None:
        self.cases += 1
        self.statuses[str(cost.status or "none")] += 1
        if cost.seconds >= self.seconds:
            self.seconds, self.seconds_by = cost.seconds, name
        if cost.megabytes >= self.megabytes:
            self.megabytes, self.megabytes_by = cost.megabytes, name
        fault = cost.fault()
        if fault:
            self.faults[f"{fault} ({name})"] = None


class Report:
    """Collects costs by family."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}

    def add(self, family: str, seed: str, size: int, cost: Cost) -> None:
        name = f"{seed.removeprefix(family).strip()}, {size:,} bytes"
        self._rows.setdefault(family, _Row()).add(name, cost)

    def table(self) -> str:
        cases = sum(row.cases for row in self._rows.values())
        faulty = [name for name, row in self._rows.items() if row.faults]
        limits = f"{MOST_SECONDS:g} s of processor time, {MOST_MB:g} MB, no 5xx"
        lines = [
            f"{cases:,} cases, {len(self._rows)} families, {len(faulty)} over a limit ({limits})",
            "",
            "| family | cases | most seconds | by case | most MB | by case | answers |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in self._rows.items():
            answers = ", ".join(f"{status} x {n}" for status, n in row.statuses.most_common())
            lines.append(
                f"| {name} | {row.cases} | {row.seconds:.2f} | {row.seconds_by} "
                f"| {row.megabytes:.0f} | {row.megabytes_by} | {answers} |"
            )
        lines += [
            "",
            *(f"- {name}: {fault}" for name in faulty for fault in self._rows[name].faults),
        ]
        return "\n".join(lines) + "\n"
