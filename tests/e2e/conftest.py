"""A real Label Studio, a real back end and a real browser, each started once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
import requests
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.editor import LIMIT_MS, Editor
from tests.e2e.pictures import Shape, draw
from tests.e2e.try_page import TryPage
from tests.needs import NO_WEIGHTS, PAIR, REPOSITORY, WEIGHTS
from tools.studio.label_studio import SWITCHES, LabelStudio, find_executable, free_port

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # containers often run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_LIMIT_S = 300
# Label Studio waits a second for a back end's health and three for its setup, and says that it is
# not connected when a busy machine takes longer.
PATIENT = dict.fromkeys(("ML_CONNECTION_TIMEOUT", "ML_TIMEOUT_HEALTH", "ML_TIMEOUT_SETUP"), "60")
# The library waits five seconds by itself.
expect.set_options(timeout=LIMIT_MS)


def unavailable(reason: str) -> NoReturn:
    """Skip; or fail where somebody counts on these tests being run (REQUIRE_E2E=1)."""
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as it is installed on this machine."""
    named = os.environ.get("CHROMIUM")
    path = named or next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        unavailable("no Chromium found: install one, or name it in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=LIMIT_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def local_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder below which Label Studio serves local files."""
    return tmp_path_factory.mktemp("local-files")


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory, local_files: Path) -> Iterator[LabelStudio]:
    """Label Studio with a data directory of its own."""
    if not find_executable().is_file():
        unavailable(
            f"no Label Studio at {find_executable()}: run `make e2e` or set LABEL_STUDIO_BIN"
        )
    folder = tmp_path_factory.mktemp("label-studio")
    studio = LabelStudio(folder, local_files=local_files, switches=SWITCHES | PATIENT)
    studio.start()
    yield studio
    studio.stop()


@dataclass(frozen=True)
class BackEnd:
    """A back end in a process of its own."""

    url: str
    log: Path


StartBackEnd = Callable[[Mapping[str, str]], BackEnd]


@pytest.fixture(scope="session")
def start_back_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartBackEnd]:
    """Starts back ends with settings of the caller's, and nothing else, on top of the defaults."""
    if not PAIR[0].is_file():
        unavailable(NO_WEIGHTS)
    running: list[subprocess.Popen[bytes]] = []

    def start(settings: Mapping[str, str]) -> BackEnd:
        folder = tmp_path_factory.mktemp("back-end")
        port = free_port()
        environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        # What a server remembers lies in MODEL_DIR: not to be shared with other runs.
        environ |= {"MODEL_DIR": str(folder), "MOBILESAM_CHECKPOINT": str(WEIGHTS)}
        environ |= {"HOST": "127.0.0.1", "PORT": str(port), **settings}
        back_end = BackEnd(f"http://localhost:{port}", folder / "log")
        with back_end.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, REPOSITORY / "_wsgi.py"],
                cwd=folder,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running.append(process)
        wait_until_healthy(back_end, process)
        return back_end

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=120)


def wait_until_healthy(back_end: BackEnd, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{back_end.url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail(f"the back end did not start:\n{back_end.log.read_text()}", pytrace=False)


@pytest.fixture(scope="session")
def back_end(start_back_end: StartBackEnd) -> BackEnd:
    """A back end without any configuration: /setup tells it how to reach Label Studio."""
    return start_back_end({})


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a few objects that are easy to tell apart, see `Shape`."""
    path = tmp_path_factory.mktemp("images") / "shapes.png"
    draw(list(Shape)).save(path)
    return path


@dataclass(frozen=True)
class Project:
    """A project with the back end connected."""

    id: int
    model_id: int
    new_task: Callable[[], int]


class MakeProject(Protocol):
    """Makes a project with one of the label configs of this repository."""

    def __call__(
        self, config: str, back_end: BackEnd, auth: tuple[str, str] | None = None
    ) -> Project: ...


@pytest.fixture(scope="session")
def make_project(studio: LabelStudio, picture: Path) -> MakeProject:
    """Makes projects whose tasks all show the same picture."""

    def make(config: str, back_end: BackEnd, auth: tuple[str, str] | None = None) -> Project:
        xml = (REPOSITORY / "label_configs" / f"{config}.xml").read_text()
        project_id = studio.create_project(config, xml)
        model_id = studio.connect_model(project_id, back_end.url, "SAM", auth)
        return Project(project_id, model_id, lambda: studio.import_images(project_id, [picture])[0])

    return make


@pytest.fixture
def editor(browser: Browser, studio: LabelStudio) -> Iterator[Editor]:
    """A signed-in browser page; that the editor does not break is part of every test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies(
        [
            {"name": name, "value": value, "url": studio.url}
            for name, value in studio.cookies.items()
        ]
    )
    context.set_default_timeout(LIMIT_MS)
    editor = Editor(context.new_page(), studio.url)
    yield editor
    context.close()
    assert editor.crashes == []


@pytest.fixture(scope="session")
def try_server(start_back_end: StartBackEnd) -> BackEnd:
    return start_back_end({})


@pytest.fixture
def new_page(browser: Browser, try_server: BackEnd) -> Iterator[Callable[..., TryPage]]:
    contexts = []

    def make(**options: Any) -> TryPage:
        context = browser.new_context(**options)
        contexts.append(context)
        made = TryPage(context.new_page())
        made.page.goto(f"{try_server.url}/try")
        return made

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., TryPage]) -> Iterator[TryPage]:
    made = new_page()
    yield made
    assert made.faults == []
