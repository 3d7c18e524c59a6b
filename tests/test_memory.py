"""Memory that is given back when nothing uses it."""

from __future__ import annotations

import gc
import threading
import time
import weakref

from sam_backend.memory import WhenIdle


def test_what_is_idle_is_released_once() -> None:
    released = threading.Semaphore(0)
    rests = WhenIdle(released.release, after_s=0.01)
    rests.used()
    assert released.acquire(timeout=60)
    time.sleep(0.05)
    assert not released.acquire(blocking=False)


def test_each_use_is_followed_by_a_release() -> None:
    released = threading.Semaphore(0)
    rests = WhenIdle(released.release, after_s=0.01)
    for _ in range(2):
        rests.used()
        assert released.acquire(timeout=60)


def test_nothing_is_released_while_uses_follow_each_other() -> None:
    released = threading.Event()
    rests = WhenIdle(released.set, after_s=3600)
    for _ in range(3):
        rests.used()
    assert not released.is_set()


def test_a_timer_that_waits_keeps_nothing_alive() -> None:
    released = threading.Event()
    WhenIdle(released.set, after_s=3600).used()
    known = weakref.ref(released)
    del released
    gc.collect()
    assert known() is None
