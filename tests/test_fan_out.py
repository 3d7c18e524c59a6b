"""A module that imports many others does many jobs. Most may import eight of the package."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.needs import REPOSITORY

MOST = 8

# The modules that put others together, which is their one job.
ROOTS = {"services", "images.build", "server.app", "doctor.examination"}

# The modules above the limit, and the most that they may import. Lower a number when it falls.
ABOVE = {
    "clicks.find_rest": 10,  # between prompts, the search and results, which are its arguments
    "engines.onnx_engine": 10,  # the parts of a pair of ONNX files, put together
}


def modules() -> dict[str, Path]:
    """The files of the package by the names of their modules."""
    package = REPOSITORY / "sam_backend"
    files = {
        ".".join(p.relative_to(REPOSITORY).with_suffix("").parts): p for p in package.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path for name, path in files.items()}


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known.keys() or {node.module}
    return found & known.keys()


def test_no_module_imports_more_than_it_may() -> None:
    known = modules()
    counts = {
        name.removeprefix("sam_backend."): len(imported(path, known))
        for name, path in known.items()
    }
    too_many = {n: c for n, c in counts.items() if n not in ROOTS and c > ABOVE.get(n, MOST)}
    assert too_many == {}
