"""SECURITY.md promises nothing that no test keeps."""

from __future__ import annotations

import ast
import re

import pytest

from tests.needs import REPOSITORY

_LINK = re.compile(r"\[(test_\w+)\]\((tests/[\w/]+\.py)\)")


def promises() -> list[tuple[str, str]]:
    """The rows of the table: the promise, and the cell with its tests."""
    table = (REPOSITORY / "SECURITY.md").read_text().partition("| promise | test |\n|---|---|\n")[2]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return [(promise, tests) for promise, tests in rows]


def functions(path: str) -> set[str]:
    tree = ast.parse((REPOSITORY / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_there_are_promises() -> None:
    assert len(promises()) > 30


@pytest.mark.parametrize(("promise", "tests"), promises())
def test_each_promise_names_a_test_that_exists(promise: str, tests: str) -> None:
    found = _LINK.findall(tests)
    assert found, promise
    for name, path in found:
        assert name in functions(path)
