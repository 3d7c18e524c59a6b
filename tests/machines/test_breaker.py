"""When a server that does not answer is asked again."""

from __future__ import annotations

from sam_backend.machines.breaker import Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_some_failures_in_a_row() -> None:
    breaker = Breaker(3, 5.0)
    assert [breaker.failed() for _ in range(2)] == [False, False]
    assert not breaker.succeeded()
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    assert breaker.is_open
    assert not breaker.allows()


def test_one_trial_after_each_pause() -> None:
    clock = Clock()
    breaker = Breaker(1, 5.0, clock)
    assert breaker.failed()
    clock.now += 4.9
    assert not breaker.allows()
    clock.now += 0.2
    assert [breaker.allows(), breaker.allows()] == [True, False]
    assert not breaker.failed()  # it was open already
    assert not breaker.allows()
    clock.now += 5.1
    assert breaker.allows()
    assert breaker.succeeded()
    assert [breaker.allows(), breaker.allows()] == [True, True]
