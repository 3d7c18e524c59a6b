"""Start: `python _wsgi.py`, `gunicorn _wsgi:app` or `label-studio-ml start .`"""

from __future__ import annotations

import argparse

from sam_backend.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(description="SAM for Label Studio: see docs/settings.md")
    serve.add_arguments(parser)
    serve.run(parser.parse_args())


if __name__ == "__main__":
    main()
else:
    from sam_backend.server.app import open_app

    app = open_app()
