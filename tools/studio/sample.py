"""The sample project: its pictures, its Label Studio project and a back end that answers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tools.folders import ROOT
from tools.studio.label_studio import LabelStudio

FOLDER = ROOT / ".studio"
IMAGES = FOLDER / "images"
TITLE = "Segment anything"
BACK_END_LIMIT_S = 60.0

# One wheel for every platform, so that one hash is enough: only pictures are taken out of it.
WHEEL = (
    "scikit-image==0.25.2 "
    "--hash=sha256:a17e17eb8562660cc0d31bb55643a4da996a81944b82c54805c91b3fe66f4824"
)
WHEEL_TAGS = ["--platform", "manylinux2014_x86_64", "--python-version", "3.12"]
PICTURES = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg", "coins.png")
NOTICE = """These pictures come with scikit-image 0.25.2 (skimage/data). All may be used freely:

coffee.png     CC0, by Rachel Michetti, courtesy of Pikolo Espresso Bar
chelsea.png    CC0, by Stefan van der Walt
astronaut.png  public domain, NASA (Eileen Collins)
rocket.jpg     public domain, SpaceX (launch of DSCOVR)
coins.png      no known copyright restrictions, Brooklyn Museum (Greek coins from Pompeii)
"""


class StudioError(RuntimeError):
    """The sample cannot run. The message says why in one line."""


def set_up(studio: LabelStudio, back_end_url: str, paths: list[Path]) -> int:
    """The sample project's id. Existing parts of the project stay unchanged."""
    known = [project["id"] for project in studio.projects() if project["title"] == TITLE]
    config = (ROOT / "label_configs" / "find_rest.xml").read_text()
    project_id = known[0] if known else studio.create_project(TITLE, config)
    if not studio.tasks(project_id):
        studio.import_images(project_id, paths)
    if back_end_url not in {model["url"] for model in studio.models(project_id)}:
        studio.connect_model(project_id, back_end_url, "SAM")
    return project_id


@contextmanager
def back_end(studio_url: str) -> Iterator[str]:
    """The address of a back end that answers. If it was started here, it is stopped afterwards."""
    url = os.environ.get("BACKEND_URL", "").rstrip("/")
    if url or answers("http://localhost:9090"):
        wait_for(url or "http://localhost:9090", None)
        yield url or "http://localhost:9090"
        return
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "back-end.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, ROOT / "_wsgi.py"],
            # Otherwise it might trust an earlier Label Studio on another port.
            env={"LABEL_STUDIO_URL": studio_url} | os.environ | {"PORT": "9090"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C reaches this process first
        )
    try:
        wait_for("http://localhost:9090", process)
        yield "http://localhost:9090"
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(url: str, process: subprocess.Popen[bytes] | None) -> None:
    """Wait until a back end is up. StudioError if it does not start."""
    deadline = time.monotonic() + BACK_END_LIMIT_S
    while not answers(url):
        if process and process.poll() is not None:
            lines = (FOLDER / "back-end.log").read_text(errors="replace").splitlines()
            raise StudioError(lines[-1] if lines else "the back end ended without a word")
        if time.monotonic() > deadline:
            raise StudioError(f"no back end answers at {url}/health: is it running?")
        time.sleep(0.3)


def answers(url: str) -> bool:
    """Whether a back end is up."""
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


def sample_pictures() -> list[Path]:
    """The sample pictures, fetched on first use."""
    paths = [IMAGES / name for name in PICTURES]
    if not all(path.is_file() for path in paths):
        print("Fetching sample pictures (15 MB) …", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            unpack(download(Path(folder)))
    return paths


def download(folder: Path) -> Path:
    """scikit-image's wheel, from pip's package index."""
    requirements = folder / "requirements.txt"
    requirements.write_text(WHEEL)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", *WHEEL_TAGS, "--require-hashes"]
    command += ["--disable-pip-version-check", "--dest", str(folder)]
    command += ["--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:]
        raise StudioError(f"cannot fetch sample pictures: {' '.join(last)}")
    return next(folder.glob("*.whl"))


def unpack(wheel: Path) -> None:
    """Put the pictures and their licences into .studio/images."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in PICTURES:
            (IMAGES / name).write_bytes(archive.read(f"skimage/data/{name}"))
    (IMAGES / "NOTICE.txt").write_text(NOTICE)
