"""What one check found, and what a person should do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sam_backend.lines import shown


class State(Enum):
    """How a check ended. The value is the sign that people see."""

    GOOD = "✓"
    BAD = "✗"
    UNKNOWN = "?"  # it could not be checked from here


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is empty unless a person should do something."""

    check: str
    state: State
    says: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """Such as `✗ Token: Label Studio does not accept it. Create a Personal Access Token.`"""
        remedy = f" {self.remedy}" if self.remedy else ""
        return shown(f"{self.state.value} {self.check}: {self.says}{remedy}", 1200)


def good(check: str, says: str) -> Finding:
    return Finding(check, State.GOOD, says)


def bad(check: str, says: str, remedy: str = "") -> Finding:
    """A refusal's message says both what happened and what to do: it needs no remedy."""
    return Finding(check, State.BAD, says, remedy)


def unknown(check: str, says: str, remedy: str = "") -> Finding:
    return Finding(check, State.UNKNOWN, says, remedy)
