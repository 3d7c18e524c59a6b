"""Starts the server from the environment, or exits with one line that says why not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from sam_backend.engines import choice, text_choice
from sam_backend.errors import SettingsError, not_permitted
from sam_backend.installation import FILES, IMPORTS, INSTALLED, START
from sam_backend.machines import opening
from sam_backend.server import listening
from sam_backend.services import Services
from sam_backend.settings import Settings

UNUSABLE = 2  # exit status: the server did not start, and a line says what to change


def checked_settings() -> Settings:
    """The settings, after a check of the model files. Exits with status 2 if something is wrong."""
    with _exits():
        settings = Settings.from_environment()
        choice.check(choice.plan(settings))
        text_choice.check(settings.text_model)
        opening.check(settings)
    return settings


def open_services(settings: Settings) -> Services:
    chosen = choice.plan(settings)
    return Services(settings, chosen.model_version, lambda: choice.open_engine(chosen))


def serve() -> NoReturn:
    """Replaces this process by gunicorn, which reads gunicorn.conf.py."""
    with _exits():
        settings = Settings.from_environment()
        listening.check(settings.host, settings.port)
    config = FILES / "gunicorn.conf.py"
    arguments = [
        "-c",
        str(config),
        "--pythonpath",
        str(IMPORTS),
        "sam_backend.server.app:open_app()",
    ]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])  # noqa: S606


_IMAGES_ADVICE = f"""
  Images that were uploaded to Label Studio need a token: Account & Settings > Personal Access
  Token, then  LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=<token> {START}
"""

_STUDIO_ADVICE = """
  No Label Studio yet? `make studio` starts one with a sample project.
"""


def welcome(settings: Settings) -> str:
    """The next steps in Label Studio, for the person who started the server in a terminal."""
    config = FILES / "label_configs" / "brush.xml" if INSTALLED else "label_configs/brush.xml"
    return f"""
SAM for Label Studio is up: http://localhost:{settings.port}

  1. Label Studio 1.23 and newer refuse local addresses; start it with
       ML_BLOCK_LOCAL_IP=false USE_DEFAULT_BANNED_SUBNETS=false label-studio start
  2. In a project: Settings > Labeling Interface > Code, paste {config}
  3. Settings > Model > Connect Model: http://localhost:{settings.port}
     and switch on "Interactive preannotations"
  4. Open a task, switch on Auto-Annotation, choose a label and the smart tool, click an object
{_IMAGES_ADVICE if settings.label_studio_token is None else ""}\
{"" if INSTALLED else _STUDIO_ADVICE}"""


@contextmanager
def _exits() -> Iterator[None]:
    """Ends this process with one line if the block finds something that the person must change."""
    try:
        yield
    except SettingsError as error:
        message = str(error)
    except PermissionError as error:
        message = not_permitted(error)
    else:
        return
    print(f"sam-backend cannot start: {message}", file=sys.stderr)
    sys.exit(UNUSABLE)
