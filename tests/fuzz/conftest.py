"""Counting what was tried, and an end to whatever hangs."""

from __future__ import annotations

import faulthandler
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator

import hypothesis
import pytest
from flask import Flask

from sam_backend.server.app import create_app
from sam_backend.services import Services
from sam_backend.settings import Settings
from tests.fakes import DiscEngine

# The same inputs in every run, so that a failure is one of the code. FUZZ=10 tries ten times as
# many, and others.
FACTOR = int(os.environ.get("FUZZ", "1"))
HANGS_AFTER_S = 2400 * FACTOR  # the longest one takes a minute where all is well

hypothesis.settings.register_profile(
    "fuzz",
    deadline=None,
    database=None,
    derandomize=FACTOR == 1,
    suppress_health_check=list(hypothesis.HealthCheck),
)

_TRIED = pytest.StashKey[Counter[str]]()


def tries(count: int) -> hypothesis.settings:
    """So many examples."""
    return hypothesis.settings(hypothesis.settings.get_profile("fuzz"), max_examples=count * FACTOR)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TRIED] = Counter()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    tried = config.stash[_TRIED]
    if tried:
        terminalreporter.section("inputs tried")
        for kind, count in tried.items():
            terminalreporter.write_line(f"{count:7} {kind}")
        terminalreporter.write_line(f"{tried.total():7} in all")


@pytest.fixture(scope="session")
def tried(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Counts an input of a kind."""

    def count(kind: str) -> None:
        pytestconfig.stash[_TRIED][kind] += 1

    return count


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A test that hangs ends the run, and says where each thread is."""
    faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class _Tracebacks(logging.Handler):
    """Turns what would be a traceback in the log into a failure."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record)


@pytest.fixture(scope="session")
def tracebacks() -> Iterator[Callable[[], None]]:
    """Fails if the log got a traceback since it was asked last."""
    logger, handler = logging.getLogger("sam_backend"), _Tracebacks()
    logger.addHandler(handler)

    def none_since() -> None:
        records, handler.seen = handler.seen, []
        for record in records:
            if record.exc_info and record.exc_info[1]:
                raise record.exc_info[1]

    yield none_since
    logger.removeHandler(handler)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The service, on an engine that draws discs."""
    environ = {"MODEL_DIR": str(tmp_path_factory.mktemp("fuzz")), "CACHE_DISK_MB": "0"}
    settings = Settings.from_environment(environ)
    return create_app(settings, Services(settings, "fuzzed", DiscEngine))
