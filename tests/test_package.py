"""The wheel: what `pip install .` brings, in an environment that holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from io import BytesIO
from pathlib import Path
from zipfile import Path as ZipPath

import pytest
import requests
from packaging.requirements import Requirement
from PIL import Image

from sam_backend import __version__
from sam_backend.engines.parity import scene
from tests.fakes import SHARED_LABELS, inline, keypoint, request_body, shared_pair
from tests.held import LIMIT_S, get
from tests.needs import REPOSITORY, WEIGHTS, need_weights
from tests.server.test_startup import free_port, running

pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def needed(distributed: Distribution, seen: set[str]) -> Iterator[Distribution]:
    """The distributions that this one asks for, extras left out, and what those ask for."""
    for text in distributed.requires or []:
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name not in seen:
            seen.add(requirement.name)
            found = distribution(requirement.name)
            yield found
            yield from needed(found, seen)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel and its dependencies alone."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (metadata,) = (path for path in ZipPath(wheel).iterdir() if path.name.endswith(".dist-info"))
    for found in needed(PathDistribution(metadata), set()):
        top_level = {Path(file.parts[0]) for file in found.files or []} - {Path("..")}
        for name in top_level - {Path("__pycache__")}:
            if not (site / name).exists():
                (site / name).symlink_to(Path(str(found.locate_file(name))))
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python")]
    command += ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True)
    return folder / "bin"


def photo() -> bytes:
    """Something to click: a drawn scene."""
    file = BytesIO()
    Image.fromarray(scene(300, 400)).save(file, "PNG")
    return file.getvalue()


def run(installed: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "sam-backend"), *arguments],
        cwd=installed,
        env={"PATH": os.environ["PATH"], "HOME": str(installed), **settings},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_the_version_has_one_source(wheel: Path) -> None:
    assert wheel.name.startswith(f"sam_backend-{__version__}-")


def test_it_serves_a_click_without_the_sdk(installed: Path, tmp_path: Path) -> None:
    need_weights()
    port = str(free_port())
    settings = {"PORT": port, "MOBILESAM_CHECKPOINT": str(WEIGHTS), "MODEL_DIR": str(tmp_path)}
    program = [str(installed / "python"), "-c", "import label_studio_ml"]
    assert subprocess.run(program, check=False, capture_output=True).returncode == 1
    for module in ("click.py", "model.py"):  # the user's own files hide no package
        (tmp_path / module).write_text("raise SystemExit('the wrong module')")
    with running(str(installed / "sam-backend"), "serve", cwd=str(tmp_path), **settings) as (
        url,
        _,
    ):
        pair = shared_pair(keypoint("a", 50, 50))
        body = request_body(pair, config=SHARED_LABELS)
        body["tasks"][0]["data"]["image"] = inline(photo())
        answer = requests.post(f"{url}/predict", json=body, timeout=LIMIT_S).json()
        types = [region["type"] for region in answer["results"][0]["result"]]
        assert types == ["brush", "labels"]
        assert get(f"{url}/openapi.json").json()["info"]["version"]


def test_without_weights_one_line_says_how_to_get_them(installed: Path) -> None:
    done = run(installed, "serve", PORT=str(free_port()))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert f"{installed}/.local/share/sam-backend/models/mobile_sam/encoder.onnx" in line
    assert "sam-backend download --model mobile_sam" in line


def test_weights_are_fetched_to_where_they_are_looked_for(installed: Path, tmp_path: Path) -> None:
    need_weights()
    settings = {"MODELS_MIRROR": str(WEIGHTS.parent), "XDG_DATA_HOME": str(tmp_path)}
    done = run(installed, "download", **settings)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sam-backend/models/mobile_sam/decoder.onnx").is_file()
    assert run(installed, "download", "--model", "sam9", **settings).returncode == 2


def test_label_configs_and_the_converter_are_in_it(wheel: Path) -> None:
    for name in ("sam_backend/files/label_configs/brush.xml", "sam_backend/engines/converter.py"):
        assert (ZipPath(wheel) / name).is_file()


def test_the_page_to_try_it_and_its_samples_are_in_it(wheel: Path) -> None:
    page = ZipPath(wheel) / "sam_backend" / "server" / "try_page"
    assert {path.name for path in page.iterdir()} == {
        "docs.css",
        "page.html",
        "samples",
        "try.css",
        "try.js",
    }
    assert len(list((page / "samples").iterdir())) == 3
    assert (ZipPath(wheel) / "sam_backend" / "py.typed").is_file()


def test_nothing_but_the_program_is_in_it(wheel: Path) -> None:
    top = {path.name for path in ZipPath(wheel).iterdir()}
    assert not top & {"tests", "tools", "models", "requirements"}
