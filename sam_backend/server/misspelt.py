"""Finds environment variables that look like a setting with a mistake in its name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from sam_backend.settings import Settings

# BASIC_AUTH_PASSWORD is as close to BASIC_AUTH_PASS.
_CLOSE = 0.88
_SAME_BEGINNING = 3  # characters: UV_CACHE_DIR is another program's CACHE_DIR
# Label Studio has a setting of this name. Kubernetes sets it beside a service named label-studio.
_OTHERS = {"LABEL_STUDIO_PORT"}


class _Asked(dict[str, str]):
    """An environment without variables, which remembers the names of settings."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]
        self.names.add(key)
        return default


def lines(environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each such variable."""
    asked = _Asked()
    Settings.from_environment(asked)
    for name in sorted(environ.keys() - asked.names - _OTHERS):
        alike = [
            known for known in asked.names if known[:_SAME_BEGINNING] == name[:_SAME_BEGINNING]
        ]
        for known in get_close_matches(name, alike, 1, _CLOSE):
            yield f"{name} is not a setting, and has no effect. Did you mean {known}?"
