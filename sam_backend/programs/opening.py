"""Opens the models of a program as the server does: from the environment, and from arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sam_backend.engines import choice, text_choice
from sam_backend.engines.protocol import Engine
from sam_backend.settings import Settings
from sam_backend.shared.text_search import TextSearch


def opened(arguments: Mapping[str, object], engine: Engine | None) -> tuple[Engine, TextSearch]:
    """The engine and the text model. `arguments` has values for settings. None: not given.

    SettingsError if something is missing. The text model is loaded at its first use.
    """
    given = {name: str(value) for name, value in arguments.items() if value is not None}
    settings = Settings.from_environment({**os.environ, **given})
    text_choice.check(settings.text_model)
    if engine is None:
        chosen = choice.plan(settings)
        choice.check(chosen)
        engine = choice.open_engine(chosen)
    return engine, TextSearch(text_choice.opener(settings.text_model, settings.device))
