"""Runs the server. Each option sets an environment variable."""

from __future__ import annotations

import argparse
import os

from sam_backend.server import startup

# `label-studio-ml start` passes the same options.
_OPTIONS = {
    "--port": "PORT",
    "--host": "HOST",
    "--log-level": "LOG_LEVEL",
    "--model-dir": "MODEL_DIR",
    "--basic-auth-user": "BASIC_AUTH_USER",
    "--basic-auth-pass": "BASIC_AUTH_PASS",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for option, key in _OPTIONS.items():
        short = ["-p"] if option == "--port" else []
        parser.add_argument(*short, option, dest=key, metavar=key, help=f"same as {key}=…")


def run(options: argparse.Namespace) -> int:
    chosen = {key: getattr(options, key) for key in _OPTIONS.values()}
    os.environ.update({key: value for key, value in chosen.items() if value is not None})
    startup.serve()
