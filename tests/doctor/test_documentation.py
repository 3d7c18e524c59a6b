"""Each symptom that the documentation lists is found by a check of the doctor."""

from __future__ import annotations

import re

from sam_backend.doctor import (
    config,
    connection,
    editor,
    images,
    reachability,
    recent_errors,
    switches,
    token,
    trial,
    way_back,
)
from tests.needs import REPOSITORY

MODULES = (config, connection, editor, images, reachability, recent_errors, token, trial, way_back)
CHECKS = {module.CHECK for module in MODULES} | {switches.MODELS, switches.WEBHOOKS, "Settings"}


def test_each_symptom_names_its_checks() -> None:
    text = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
    table = text.split("## Symptoms")[1].split("##")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", table, re.MULTILINE)[1:]
    assert len(rows) > 10
    named = {check for row in rows for check in row[2].split(", ")}
    assert named == CHECKS
