"""Environment variables that a person meant as settings."""

from __future__ import annotations

import re

import pytest

from sam_backend.server import misspelt
from tests.needs import REPOSITORY


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("SAM_CHOISE", "SAM_CHOICE"),
        ("ALLOWED_IMAGE_HOST", "ALLOWED_IMAGE_HOSTS"),
        ("LABEL_STUDIO_URI", "LABEL_STUDIO_URL"),
        ("BASIC_AUTH_PASSWORD", "BASIC_AUTH_PASS"),
    ],
)
def test_a_mistake_in_a_name_is_said(written: str, meant: str) -> None:
    [line] = misspelt.lines({written: "secret"})
    assert line.startswith(f"{written} is not a setting")
    assert line.endswith(f"Did you mean {meant}?")
    assert "secret" not in line


def test_settings_and_variables_of_other_programs_are_no_mistakes() -> None:
    settings = re.findall("`([A-Z_]{4,})`", (REPOSITORY / "docs" / "settings.md").read_text())
    others = ["UV_CACHE_DIR", "LABEL_STUDIO_BASE_DATA_DIR", "HOSTNAME"]
    # Kubernetes sets these beside services named sam and label-studio.
    services = ["SAM_SERVICE_HOST", "SAM_PORT", "SAM_PORT_9090_TCP_PORT"]
    services += ["LABEL_STUDIO_SERVICE_HOST", "LABEL_STUDIO_PORT", "LABEL_STUDIO_PORT_80_TCP_PORT"]
    known = dict.fromkeys([*settings, *others, *services], "1")
    assert list(misspelt.lines(known)) == []
