"""How the back end gets at images, and who may ask it: the ways that Label Studio knows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import BackEnd, MakeProject, StartBackEnd
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, draw
from tests.needs import REPOSITORY
from tools.studio.label_studio import LabelStudio, LabelStudioError


def click(studio: LabelStudio, model_id: int, task_id: int) -> list[str]:
    """The types of what comes back for a keypoint in a project with shared labels."""
    x, y = Shape.DISC.centre
    region = {
        "id": "point1",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "is_positive": True,
        "value": {"x": 100 * x, "y": 100 * y, "width": 0.3, "labels": ["Object"]},
    }
    names = {"keypoint": "point", "labels": "label"}
    prompt = [{**region, "from_name": name, "type": kind} for kind, name in names.items()]
    answer: dict[str, Any] = studio.click(model_id, task_id, prompt)
    return [result["type"] for result in answer["data"]["result"]]


@pytest.fixture
def no_legacy_tokens(studio: LabelStudio) -> Iterator[None]:
    """As in an organisation that Label Studio 1.23 has made."""
    studio.allow_legacy_tokens(False)
    yield
    studio.allow_legacy_tokens(True)


@pytest.mark.usefixtures("no_legacy_tokens")
def test_a_personal_access_token(
    studio: LabelStudio, start_back_end: StartBackEnd, make_project: MakeProject
) -> None:
    token = studio.personal_access_token()
    back_end = start_back_end({"LABEL_STUDIO_HOST": studio.url, "LABEL_STUDIO_API_KEY": token})
    project = make_project("brush", back_end)
    assert click(studio, project.model_id, project.new_task()) == ["brush", "labels"]


def test_a_legacy_token_and_basic_auth(
    studio: LabelStudio, start_back_end: StartBackEnd, make_project: MakeProject
) -> None:
    token = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": studio.legacy_token}
    auth = {"BASIC_AUTH_USER": "ann", "BASIC_AUTH_PASS": "sesame"}
    back_end = start_back_end({**token, **auth})
    with pytest.raises(LabelStudioError, match="401"):
        make_project("brush", back_end)
    project = make_project("brush", back_end, ("ann", "sesame"))
    assert click(studio, project.model_id, project.new_task()) == ["brush", "labels"]


@pytest.mark.usefixtures("no_legacy_tokens")
def test_a_refused_token_is_said_in_the_log(
    studio: LabelStudio, start_back_end: StartBackEnd, make_project: MakeProject
) -> None:
    back_end = start_back_end({})
    project = make_project("brush", back_end)
    assert click(studio, project.model_id, project.new_task()) == []
    assert "LABEL_STUDIO_API_KEY" in back_end.log.read_text()


def test_an_image_by_its_whole_address(
    studio: LabelStudio, back_end: BackEnd, make_project: MakeProject
) -> None:
    project = make_project("brush", back_end)
    upload = studio.task(project.new_task())["data"]["image"]
    [task_id] = studio.import_tasks(project.id, [{"data": {"image": studio.url + upload}}])
    assert click(studio, project.model_id, task_id) == ["brush", "labels"]


def test_local_files(
    studio: LabelStudio,
    back_end: BackEnd,
    make_project: MakeProject,
    local_files: Path,
    picture: Path,
) -> None:
    project = make_project("brush", back_end)
    folder = local_files / "some images"
    folder.mkdir()
    shutil.copy(picture, folder / "one of them.png")
    studio.add_local_storage(project.id, folder)
    [task] = studio.tasks(project.id)
    assert task["data"]["image"].startswith("/data/local-files/?d=")
    assert click(studio, project.model_id, task["id"]) == ["brush", "labels"]


def test_the_images_of_the_next_tasks_are_got_ready(
    studio: LabelStudio, start_back_end: StartBackEnd, make_project: MakeProject, tmp_path: Path
) -> None:
    environ = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": studio.legacy_token}
    back_end = start_back_end({**environ, "PREFETCH_NEXT": "2"})
    project = make_project("brush", back_end)
    pictures = []
    for number, shape in enumerate(Shape):
        pictures.append(tmp_path / f"{number}.png")
        draw([shape]).save(pictures[-1])
    first, *_others = sorted(studio.import_images(project.id, pictures))
    config = (REPOSITORY / "label_configs/brush.xml").read_text()
    opened = {"tasks": [studio.task(first)], "project": f"{project.id}.1", "label_config": config}
    requests.post(f"{back_end.url}/predict", json=opened | {"params": {}}, timeout=60)
    wait_for = 'sam_prefetch_total{outcome="done"} 4.0'  # the list, and three images
    deadline = time.monotonic() + 60
    while wait_for not in requests.get(f"{back_end.url}/metrics", timeout=60).text:
        assert time.monotonic() < deadline, back_end.log.read_text()
        time.sleep(0.1)
