"""The source of a model of transformers: a folder with a config.json, or a name on a hub."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

from sam_backend.errors import SettingsError

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def check(setting: str, source: str, kinds: Collection[str]) -> str | None:
    """The type of the model in a folder; None for what may be a name on a hub. Else SettingsError.

    `setting` is the name of the environment variable, and `kinds` are the known types of models.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if not _HUB_NAME.fullmatch(source):
            raise SettingsError(
                f"{setting}={source!r} is neither a folder nor a model's name on a hub"
            )
        return None
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise SettingsError(
            f"{setting}={source!r} has no readable config.json of transformers"
        ) from None
    return check_kind(setting, source, kind, kinds)


def check_kind(setting: str, source: str, kind: object, kinds: Collection[str]) -> str:
    """The type of a model. SettingsError if it is not one of these."""
    if not isinstance(kind, str) or kind not in kinds:
        raise SettingsError(
            f"{setting}={source!r} is a model of type {kind!r}, not one of " + ", ".join(kinds)
        )
    return kind
