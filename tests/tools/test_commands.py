"""The commands that documents and the Makefile name exist."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.needs import REPOSITORY

TOOLS = REPOSITORY / "tools"
NAMING = [
    REPOSITORY / "Makefile",
    *(path for path in REPOSITORY.glob("*.md") if path.name != "CHANGELOG.md"),
    *REPOSITORY.glob("docs/*.md"),
    *(REPOSITORY / "sam_backend").rglob("*.py"),
    *TOOLS.rglob("*.py"),
]


def named(pattern: str) -> set[str]:
    """What files name by a pattern with one group."""
    return {name for path in NAMING for name in re.findall(pattern, path.read_text())}


def runs(module: str) -> bool:
    """Whether `python -m` runs a module as a command."""
    path = REPOSITORY.joinpath(*module.split("."))
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return file.is_file() and 'if __name__ == "__main__":' in file.read_text()


COMMANDS = sorted(named(r"python3? -m (tools(?:\.\w+)+)"))


def test_every_command_that_is_named_runs() -> None:
    assert len(COMMANDS) > 15
    assert [command for command in COMMANDS if not runs(command)] == []


def test_every_command_is_named_in_its_own_file_or_in_the_makefile() -> None:
    files = [p for p in TOOLS.rglob("*.py") if 'if __name__ == "__main__":' in p.read_text()]
    commands = {".".join(p.relative_to(REPOSITORY).with_suffix("").parts) for p in files}
    peers = {"tools.quality.everything_peer"}  # started by the command that it is compared with
    assert {c.removesuffix(".__main__") for c in commands} - peers - set(COMMANDS) == set()


def test_every_tool_that_a_text_mentions_exists() -> None:
    mentioned = named(r"`(tools(?:\.\w+)+)`")
    places = {name: REPOSITORY.joinpath(*name.split(".")) for name in mentioned}
    missing = [n for n, p in places.items() if not (p.is_dir() or p.with_suffix(".py").is_file())]
    assert missing == []


@pytest.mark.parametrize("package", ["bench", "load", "quality", "soak"])
def test_a_package_of_tools_says_how_it_is_run(package: str) -> None:
    command = [sys.executable, "-m", f"tools.{package}", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert f"usage: python -m tools.{package} " in done.stdout
