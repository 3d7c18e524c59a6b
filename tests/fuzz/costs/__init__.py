"""What inputs cost: structured ones, drawn from seeds, by family."""

from tests.fuzz.costs import (
    addresses,
    bodies,
    configs,
    framing,
    pictures,
    programs,
    prompts,
    regions,
    searches,
)
from tests.fuzz.costs.family import FAMILIES

__all__ = [
    "FAMILIES",
    "addresses",
    "bodies",
    "configs",
    "framing",
    "pictures",
    "programs",
    "prompts",
    "regions",
    "searches",
]
