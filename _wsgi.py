"""Start: `python _wsgi.py`, `gunicorn _wsgi:app` or `label-studio-ml start .`"""

from __future__ import annotations

import argparse
import os

from sam_backend.startup import serve

# The options that `label-studio-ml start` passes on, and the settings that they stand for.
OPTIONS = {
    "--port": "PORT",
    "--host": "HOST",
    "--log-level": "LOG_LEVEL",
    "--model-dir": "MODEL_DIR",
    "--basic-auth-user": "BASIC_AUTH_USER",
    "--basic-auth-pass": "BASIC_AUTH_PASS",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="SAM for Label Studio. Settings: see README.md")
    for option, key in OPTIONS.items():
        short = ["-p"] if option == "--port" else []
        parser.add_argument(*short, option, dest=key, metavar=key, help=f"same as {key}=…")
    chosen = vars(parser.parse_args())
    os.environ.update({key: value for key, value in chosen.items() if value is not None})
    serve()


if __name__ == "__main__":
    main()
else:
    from sam_backend.server import open_app

    app = open_app()
