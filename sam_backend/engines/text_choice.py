"""Checks and opens the text model of the settings. PyTorch is imported for it only."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

from sam_backend.engines.text_protocol import Finder
from sam_backend.errors import SettingsError
from sam_backend.installation import pip_install


def check(source: str | None) -> None:
    """SettingsError if a text model is asked for that cannot work. Loads no model."""
    if source is None:
        return
    # Asking CUDA would initialise it, and then no forked worker could use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        raise SettingsError(
            f"SAM_TEXT_MODEL={source!r} needs transformers and PyTorch: "
            f"{pip_install('transformers')}"
        )
    from sam_backend.engines import text_model  # noqa: PLC0415 (PyTorch is optional, and slow to import)

    text_model.check_source(source)


def opener(source: str | None, device: str) -> Callable[[], Finder] | None:
    """Loads the text model when it is called. None if the settings name none."""
    if source is None:
        return None

    def open_model() -> Finder:
        check(source)
        from sam_backend.engines.text_model import TextModel  # noqa: PLC0415

        return TextModel(source, device)

    return open_model
