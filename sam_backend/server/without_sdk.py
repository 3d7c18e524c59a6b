"""Replaces Label Studio's ML SDK if it is not installed.

The SDK on PyPI pins a Flask of 2020, so pip cannot install it beside a current one. The server
uses only the two members below; `label-studio-ml start` needs the real SDK.
"""

from __future__ import annotations


class LabelStudioMLBase:
    """The part of the SDK's class that `SamMLBackend` uses."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id
        self.label_config = label_config
        self._facts: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        self._facts[key] = value
