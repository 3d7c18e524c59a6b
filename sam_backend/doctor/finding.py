"""What one check found, and what a person should do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from sam_backend.lines import one_line


class Verdict(Enum):
    """How a check ended. The value is the sign that people see."""

    GOOD = "✓"
    BAD = "✗"
    UNKNOWN = "?"  # it could not be checked from here


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is empty unless a person should do something."""

    check: str
    state: Verdict
    says: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """Such as `✗ Token: Label Studio does not accept it. Create a Personal Access Token.`"""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.state.value} {self.check}: {self.says}{remedy}"


def good(check: str, says: str) -> Finding:
    return Finding(check, Verdict.GOOD, _public(says))


def bad(check: str, says: str, remedy: str = "") -> Finding:
    """A refusal's message says both what happened and what to do: it needs no remedy."""
    return Finding(check, Verdict.BAD, _public(says), _public(remedy))


def unknown(check: str, says: str, remedy: str = "") -> Finding:
    return Finding(check, Verdict.UNKNOWN, _public(says), _public(remedy))


def _public(text: str) -> str:
    """Without the password of an address, and as one line of limited length."""
    return one_line(re.sub(r"(\w://)[^/\s@]*@", r"\1", text))
