"""Check Label Studio, a project and this back end, and say what to do.

It reads LABEL_STUDIO_URL, LABEL_STUDIO_API_KEY and MODEL_DIR as the server does.
"""

from __future__ import annotations

import argparse

from sam_backend.doctor.examination import Subject, examine
from sam_backend.doctor.finding import Verdict, bad
from sam_backend.engines import choice
from sam_backend.errors import SettingsError
from sam_backend.services import Services
from sam_backend.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", type=int, help="number of a project in Label Studio")
    parser.add_argument(
        "--address",
        help="where Label Studio calls this back end; default: http://localhost:PORT",
    )


def run(options: argparse.Namespace) -> int:
    """0: all is well; 1: something is to be done."""
    try:
        settings = Settings.from_environment()
        chosen = choice.plan(settings)
        choice.check(chosen)
    except SettingsError as error:
        print(bad("Settings", f"the back end cannot start: {error}.").line)
        return 1
    services = Services(settings, chosen.model_version, lambda: choice.open_engine(chosen))
    address = (options.address or f"http://localhost:{settings.port}").rstrip("/")
    is_well = True
    for finding in examine(Subject(services, options.project, address)):
        print(finding.line, flush=True)
        is_well &= finding.state is not Verdict.BAD
    if options.project is None:
        print("Name a project with --project to check its model, label config and images.")
    return 0 if is_well else 1
