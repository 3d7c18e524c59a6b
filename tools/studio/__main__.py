"""`make studio`: a Label Studio with sample pictures and the back end connected, until Ctrl-C.

Everything is in .studio/, so a second run has the same project and login. The back end is the one
at BACKEND_URL, or else the one on port 9090, which is started if necessary.
"""

from __future__ import annotations

import signal
import socket
import sys

from tools.studio.label_studio import EMAIL, PASSWORD, LabelStudio, LabelStudioError, free_port
from tools.studio.sample import FOLDER, StudioError, back_end, sample_pictures, set_up

PORT = 8080


def main() -> None:
    """Run until Ctrl-C, or exit with one line that says what is missing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        port = PORT if is_free(PORT) else free_port()
        with back_end(f"http://localhost:{port}") as url:
            run(url, port)
    except (StudioError, LabelStudioError) as error:
        sys.exit(f"studio: {error}")
    except KeyboardInterrupt:
        print("\nLabel Studio is stopped.")


def run(back_end_url: str, port: int) -> None:
    """Start Label Studio, set up the project on the first run, and wait."""
    paths = sample_pictures()
    studio = LabelStudio(FOLDER, port=port)
    print("Starting Label Studio (the first time takes a minute) …", flush=True)
    try:
        studio.start()
        print(welcome(studio.url, set_up(studio, back_end_url, paths)), flush=True)
        raise StudioError(f"Label Studio ended by itself ({studio.wait()}): see {studio.log}")
    finally:
        studio.stop()


def is_free(port: int) -> bool:
    """Whether a port is free. Label Studio would silently choose another port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def welcome(url: str, project_id: int) -> str:
    """The address, the login and the next steps."""
    return f"""
  Label Studio  {url}/projects/{project_id}/data
  Email         {EMAIL}
  Password      {PASSWORD}

  1. Open a picture and switch on Auto-Annotation below it.
  2. Choose a label above it, then the smart tool: the last one in the toolbar.
  3. Click an object. Click a missing part to add it, and Alt-click an extra part to remove it.
     ✓ keeps the mask.
  4. On the coins, choose the second smart keypoint and click one coin: it finds the others.

  Ctrl-C stops Label Studio; what you label stays in .studio/.
"""


if __name__ == "__main__":
    main()
