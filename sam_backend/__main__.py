"""The program `sam-backend`, which is also `python -m sam_backend`. Each command is a module."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from sam_backend import __version__
from sam_backend.errors import Refusal, SettingsError, not_permitted

COMMANDS = {
    "serve": "sam_backend.server.serve",
    "download": "sam_backend.engines.download",
    "convert": "sam_backend.engines.convert",
    "doctor": "sam_backend.doctor.command",
    "segment": "sam_backend.programs.command",
    "segment_with_prompts": "sam_backend.bulk.segment_with_prompts",
    "segment_everything": "sam_backend.bulk.segment_everything",
    "find_similar": "sam_backend.bulk.find_similar",
    "export_masks": "sam_backend.bulk.export_masks",
    "import_coco": "sam_backend.bulk.import_coco",
}
FAILED, UNUSABLE = 1, 2  # exit statuses: some of it failed; it could not begin


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status. Errors are one line."""
    parser = argparse.ArgumentParser(prog="sam-backend", description="SAM for Label Studio.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, path in COMMANDS.items():
        module = import_module(path)
        summary = (module.__doc__ or "").splitlines()[0]
        hyphens = [name.replace("_", "-")] if "_" in name else []
        command = commands.add_parser(name, aliases=hyphens, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        return int(options.run(options))
    except (Refusal, SettingsError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return UNUSABLE
    except PermissionError as error:
        print(f"{options.command}: {not_permitted(error)}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
