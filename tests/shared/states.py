"""A state with something in each table."""

from __future__ import annotations

import time
from dataclasses import replace

from sam_backend.clicks.prompts import Target
from sam_backend.shared.projects import StudioConnection
from sam_backend.shared.refusal_records import RefusalRecord
from sam_backend.shared.state import State
from tests.shades import change_memory

TARGET = Target("image", None, ("Car",), 40, 30, 0.0)
STUDIO = StudioConnection("http://studio.example", "f00d")


def fill(state: State, number: int = 0) -> None:
    """All that a state can hold, and all that can be asked of it."""
    state.remember_setup(f"p{number}", STUDIO, {"candidates": 3})
    change_memory(state, "p", str(number), TARGET, lambda memory: replace(memory, time=time.time()))
    state.change_earlier_clicks(str(number), lambda memory: memory)
    state.add_refusals([RefusalRecord(time.time(), f"task {number}", "image", "gone")])
    state.believe(STUDIO.url)
    state.believed()
    state.project(f"p{number}")
    state.refusals()
