"""Each symptom that the documentation lists is found by a check of the doctor."""

from __future__ import annotations

import re

from sam_backend.doctor import (
    back_end_reachable,
    config,
    connection,
    editor,
    images,
    label_studio_reachable,
    recent_errors,
    switches,
    token,
    trial,
)
from tests.needs import REPOSITORY

MODULES = (
    config,
    connection,
    editor,
    images,
    label_studio_reachable,
    recent_errors,
    token,
    trial,
    back_end_reachable,
)
CHECKS = {module.CHECK for module in MODULES} | {switches.MODELS, switches.WEBHOOKS, "Settings"}


def test_each_symptom_names_its_checks() -> None:
    text = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    table = text.split("## Symptoms")[1].split("##")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", table, re.MULTILINE)[1:]
    assert len(rows) > 10
    named = {check for row in rows for check in row[2].split(", ")}
    assert named == CHECKS
