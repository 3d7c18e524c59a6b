"""Each symptom that the documentation lists is found by a check of the doctor."""

from __future__ import annotations

import importlib
import pkgutil
import re

from sam_backend import doctor
from sam_backend.doctor import switches
from tests.needs import REPOSITORY

MODULES = [
    importlib.import_module(f"{doctor.__name__}.{module.name}")
    for module in pkgutil.iter_modules(doctor.__path__)
]
CHECKS = {module.CHECK for module in MODULES if hasattr(module, "CHECK")}
CHECKS |= {switches.MODELS, switches.WEBHOOKS, "Settings"}


def test_each_symptom_names_its_checks() -> None:
    text = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    table = text.split("## Symptoms")[1].split("##")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", table, re.MULTILINE)[1:]
    assert len(rows) > 10
    named = {check for row in rows for check in row[2].split(", ")}
    assert named == CHECKS
