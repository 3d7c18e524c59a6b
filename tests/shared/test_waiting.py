"""Requests that would be answered too late are refused at once. Time is simulated."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest

from sam_backend.errors import Busy
from sam_backend.shared import waiting
from sam_backend.shared.scheduling import Schedule
from sam_backend.shared.waiting import PATIENCE_S, Pace, is_in_time, wait


def paced(seconds: float) -> Pace:
    pace = Pace()
    pace.took(seconds)
    return pace


@pytest.mark.parametrize(
    ("ahead", "at_once", "seconds", "expected"),
    [(0, 1, 3.0, 0), (1, 1, 3.0, 3), (2, 1, 3.0, 6), (7, 8, 0.2, 0), (8, 8, 0.2, 0.025)],
)
def test_the_wait_is_the_work_ahead(
    ahead: int, at_once: int, seconds: float, expected: float
) -> None:
    assert wait(ahead, at_once, paced(seconds)) == pytest.approx(expected)


def test_a_request_with_at_most_one_turn_ahead_is_always_in_time() -> None:
    assert is_in_time(0, 1, paced(60), left=0.1)
    assert is_in_time(1, 1, paced(60), left=0.1)
    assert not is_in_time(2, 1, paced(60), left=0.1)


def test_before_the_first_answer_nobody_is_refused() -> None:
    assert is_in_time(1000, 1, Pace(), left=0.1)


def test_the_pace_follows_the_last_requests() -> None:
    pace = paced(10)
    for _ in range(30):
        pace.took(0.1)
    assert pace.seconds == pytest.approx(0.1, abs=0.02)


def test_a_click_without_time_for_its_encode_is_refused_and_a_command_is_not() -> None:
    schedule = Schedule(encodes=1, decodes=1)
    encodes = schedule._encodes
    encodes.pace.seconds = 5.0  # instead of five seconds of work
    with schedule.encode():
        encodes.waiting.append(object())
        assert waiting.left() == math.inf
        with (
            waiting.at_most(1),
            pytest.raises(Busy, match=r"2 other clicks have to encode first, which takes 10\.0 s"),
            schedule.encode(),
        ):
            pass
        encodes.waiting.clear()
    with waiting.at_most(1), schedule.encode():  # nobody is ahead
        pass


# --- a server with many annotators, event by event -----------------------------------------------


@dataclass(frozen=True)
class Click:
    annotator: int
    begun: float
    needs_encode: bool


class Stage:
    """Clicks that take turns: `at_once` of them for some `seconds` each."""

    def __init__(self, at_once: int, seconds: float = 0) -> None:
        self.at_once = at_once
        self.seconds = seconds
        self.pace = Pace()
        self.waiting = deque[Click]()
        self.busy = 0

    def in_time(self, left: float) -> bool:
        return is_in_time(len(self.waiting) + self.busy, self.at_once, self.pace, left)


class Server:
    """Eight clicks are inside at once. One of them encodes, and two decode."""

    def __init__(self, annotators: int, patience: float, slowness: float) -> None:
        self.took: list[float] = []
        self.refused = 0
        self._patience = patience
        self._most = 40 if patience < math.inf else annotators
        self._dice = random.Random(annotators)
        self._door = Stage(8)
        self._encode, self._decode = Stage(1, 0.35 * slowness), Stage(2, 0.03 * slowness)
        self._entered: dict[Click, float] = {}
        self._events: list[tuple[float, int, Callable[[float, Click], None], Click]] = []
        self._numbers, self._clicks = count(), count()
        for annotator in range(annotators):
            self._pause(0, annotator)

    @property
    def p99(self) -> float:
        return float(np.percentile(self.took, 99))

    def run(self, seconds: float) -> None:
        while self._events[0][0] < seconds:
            now, _, what, click = heapq.heappop(self._events)
            what(now, click)

    def _at(self, time: float, what: Callable[[float, Click], None], click: Click) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), what, click))

    def _pause(self, now: float, annotator: int) -> None:
        """Two to four seconds. Each twelfth click is the first one on a picture."""
        begun = now + self._dice.uniform(2, 4)
        click = Click(annotator, begun, needs_encode=next(self._clicks) % 12 == 0)
        self._at(begun, self._arrive, click)

    def _arrive(self, now: float, click: Click) -> None:
        door = self._door
        if len(door.waiting) + door.busy >= self._most or not door.in_time(self._patience):
            self._refuse(now, click)
        elif door.busy < door.at_once:
            self._enter(now, click)
        else:
            door.waiting.append(click)

    def _enter(self, now: float, click: Click) -> None:
        self._door.busy += 1
        self._entered[click] = now
        if not click.needs_encode:
            self._queue(now, self._decode, click)
        elif self._encode.in_time(click.begun + self._patience - now):
            self._queue(now, self._encode, click)
        else:
            self._leave(now, click)
            self._refuse(now, click)

    def _queue(self, now: float, stage: Stage, click: Click) -> None:
        stage.waiting.append(click)
        self._begin(now, stage)

    def _begin(self, now: float, stage: Stage) -> None:
        while stage.waiting and stage.busy < stage.at_once:
            stage.busy += 1
            seconds = stage.seconds * self._dice.uniform(0.7, 1.5)
            stage.pace.took(seconds)
            done = self._encoded if stage is self._encode else self._decoded
            self._at(now + seconds, done, stage.waiting.popleft())

    def _encoded(self, now: float, click: Click) -> None:
        self._encode.busy -= 1
        self._begin(now, self._encode)
        self._queue(now, self._decode, click)

    def _decoded(self, now: float, click: Click) -> None:
        self._decode.busy -= 1
        self._begin(now, self._decode)
        self._leave(now, click)
        self.took.append(now - click.begun)
        self._pause(now, click.annotator)

    def _leave(self, now: float, click: Click) -> None:
        door = self._door
        door.busy -= 1
        door.pace.took(now - self._entered.pop(click))
        if door.waiting:
            self._enter(now, door.waiting.popleft())

    def _refuse(self, now: float, click: Click) -> None:
        self.refused += 1
        self._pause(now, click.annotator)


def simulated(annotators: int, patience: float, slowness: float = 1.0) -> Server:
    """Ten minutes of a server with this number of annotators."""
    server = Server(annotators, patience, slowness)
    server.run(600)
    return server


def test_few_annotators_are_never_refused() -> None:
    outcome = simulated(8, PATIENCE_S)
    assert outcome.refused <= 0.01 * len(outcome.took)
    assert outcome.p99 < 1


@pytest.mark.parametrize("annotators", [64, 128, 256])
@pytest.mark.parametrize("slowness", [1, 3])
def test_answers_take_a_second_or_two_turns_however_many_ask(
    annotators: int, slowness: float
) -> None:
    outcome = simulated(annotators, PATIENCE_S, slowness)
    own = slowness * 1.5 * 0.38  # of a first click that waits for nobody
    assert outcome.p99 < max(1.3, 2 * own)


@pytest.mark.parametrize("annotators", [128, 256])
def test_the_server_is_as_busy_as_without_refusals(annotators: int) -> None:
    patient, prompt = simulated(annotators, math.inf, 3), simulated(annotators, PATIENCE_S, 3)
    assert patient.p99 > 5
    assert len(prompt.took) > 0.8 * len(patient.took)
