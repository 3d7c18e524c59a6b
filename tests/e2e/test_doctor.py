"""`sam-backend doctor` beside a real Label Studio that is broken in every way we know of."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import BackEnd, MakeProject, Project, StartBackEnd
from tests.e2e.pictures import HEIGHT, WIDTH
from tests.e2e.test_access import click
from tests.needs import REPOSITORY, WEIGHTS
from tools.studio.label_studio import SWITCHES, LabelStudio, free_port

SAID = re.compile(r"([✓✗?]) ([^:]+): (.*)")


# The findings by their check: ✓, ✗ or ?, and what is said.
Findings = dict[str, tuple[str, str]]


Doctor = Callable[..., Findings]


@pytest.fixture
def doctor(studio: LabelStudio, back_end: BackEnd) -> Doctor:
    """Runs the command as an operator does, with a token; keyword arguments change settings."""

    def run(project: int | None, address: str = "", model_dir: str = "", **env: str) -> Findings:
        environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        environ |= {
            "MODEL_DIR": model_dir or str(back_end.log.parent),
            "MOBILESAM_CHECKPOINT": str(WEIGHTS),
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": studio.legacy_token,
            **env,
        }
        command = [sys.executable, "-m", "sam_backend", "doctor"]
        command += ["--address", address or back_end.url]
        command += ["--project", str(project)] if project else []
        done = subprocess.run(
            command,
            check=False,
            cwd=REPOSITORY,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
        )
        found = {m[2]: (m[1], m[3]) for line in done.stdout.splitlines() if (m := SAID.match(line))}
        assert found, done.stdout + done.stderr
        assert done.returncode == any(sign == "✗" for sign, _ in found.values())
        for secret in (environ["LABEL_STUDIO_API_KEY"], "Traceback"):
            assert not secret or secret not in done.stdout + done.stderr
        return found

    return run


@pytest.fixture(scope="module")
def project(make_project: MakeProject, back_end: BackEnd) -> Project:
    project = make_project("brush", back_end)
    project.new_task()
    return project


def edit(studio: LabelStudio, model_id: int, **fields: object) -> None:
    """Changes a model behind Label Studio's back: its form would refuse what does not work."""
    with closing(sqlite3.connect(studio.data_dir / "label_studio.sqlite3", timeout=30)) as db, db:
        for name, value in fields.items():
            db.execute(f"update ml_mlbackend set {name} = ? where id = ?", (value, model_id))


def test_all_is_well(doctor: Doctor, studio: LabelStudio, project: Project) -> None:
    found = doctor(project.id)
    assert found.pop("The editor")[0] == "?"
    assert {sign for sign, _ in found.values()} == {"✓"}, found
    assert {"Label Studio", "Token", "Models at this address", "Webhooks at this address"} < {
        *found
    }
    assert {"From Label Studio to here", "Connected model", "Label config", "Images"} < {*found}
    assert "brought a mask" in found["A click"][1]
    assert len(studio.models(project.id)) == 1  # no question created one
    assert click(studio, project.model_id, project.new_task())
    assert doctor(project.id)["The editor"][0] == "✓"


def test_a_wrong_address_of_label_studio(doctor: Doctor, back_end: BackEnd) -> None:
    (sign, said) = doctor(1, LABEL_STUDIO_URL=f"http://localhost:{free_port()}")["Label Studio"]
    assert (sign, "LABEL_STUDIO_URL" in said) == ("✗", True)
    (sign, said) = doctor(1, LABEL_STUDIO_URL=back_end.url)["Label Studio"]
    assert (sign, "does not answer as Label Studio does" in said) == ("✗", True)


def test_no_address_at_all(doctor: Doctor, tmp_path: Path) -> None:
    found = doctor(1, model_dir=str(tmp_path), LABEL_STUDIO_URL="", LABEL_STUDIO_API_KEY="")
    assert found["Label Studio"][0] == "✗"
    assert "LABEL_STUDIO_URL" in found["Label Studio"][1]


def test_the_address_that_label_studio_told(doctor: Doctor, project: Project) -> None:
    found = doctor(project.id, LABEL_STUDIO_URL="", LABEL_STUDIO_API_KEY="")
    assert found["Token"][0] == found["A click"][0] == "✓"


def test_a_project_that_is_not_there(doctor: Doctor) -> None:
    (sign, said) = doctor(123456)["Project"]
    assert (sign, "is the number right" in said) == ("✗", True)


def test_without_a_project(doctor: Doctor, project: Project) -> None:
    found = doctor(None, LABEL_STUDIO_URL="", LABEL_STUDIO_API_KEY="")
    assert found["Label Studio"][0] == found["Token"][0] == "✓"
    assert "Connected model" not in found


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    """The address of a server whose certificate nobody signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*made, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_certificate_that_is_not_trusted(doctor: Doctor, untrusted: str) -> None:
    (sign, said) = doctor(1, LABEL_STUDIO_URL=untrusted)["Label Studio"]
    assert (sign, "REQUESTS_CA_BUNDLE" in said) == ("✗", True)


def test_a_wrong_token(doctor: Doctor, project: Project) -> None:
    found = doctor(project.id, LABEL_STUDIO_API_KEY="0" * 40)
    assert found["Token"][0] == "✗"
    assert "Personal Access Token" in found["Token"][1]
    assert "Connected model" not in found


def test_legacy_tokens_are_off(doctor: Doctor, studio: LabelStudio, project: Project) -> None:
    studio.allow_legacy_tokens(False)
    try:
        assert doctor(project.id)["Token"][0] == "✗"
        personal = studio.personal_access_token()
        assert doctor(project.id, LABEL_STUDIO_API_KEY=personal)["A click"][0] == "✓"
    finally:
        studio.allow_legacy_tokens(True)


@pytest.fixture(scope="module")
def closed_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """A Label Studio that may call no local address, as 1.23 is by default."""
    switches = SWITCHES | {
        "ML_BLOCK_LOCAL_IP": "true",
        "SSRF_PROTECTION_ENABLED": "true",
        "USE_DEFAULT_BANNED_SUBNETS": "true",
    }
    studio = LabelStudio(tmp_path_factory.mktemp("closed"), switches=switches)
    studio.start()
    yield studio
    studio.stop()


def test_the_switches_are_off(doctor: Doctor, closed_studio: LabelStudio) -> None:
    config = (REPOSITORY / "label_configs" / "brush.xml").read_text()
    project = closed_studio.create_project("closed", config)
    found = doctor(
        project,
        LABEL_STUDIO_URL=closed_studio.url,
        LABEL_STUDIO_API_KEY=closed_studio.legacy_token,
    )
    assert found["Models at this address"][0] == found["Webhooks at this address"][0] == "✗"
    assert "ML_BLOCK_LOCAL_IP=false" in found["Models at this address"][1]
    assert "USE_DEFAULT_BANNED_SUBNETS=false" in found["Webhooks at this address"][1]


def test_label_studio_cannot_get_here(
    doctor: Doctor, studio: LabelStudio, project: Project
) -> None:
    way = "From Label Studio to here"
    (sign, said) = doctor(project.id, address=f"http://localhost:{free_port()}")[way]
    assert (sign, "cannot reach" in said) == ("✗", True)
    (sign, said) = doctor(project.id, address=studio.url)[way]
    assert (sign, "another server answers" in said) == ("✗", True)
    assert len(studio.models(project.id)) == 1


def test_no_model_is_connected(doctor: Doctor, studio: LabelStudio, picture: Path) -> None:
    config = (REPOSITORY / "label_configs" / "brush.xml").read_text()
    project = studio.create_project("alone", config)
    studio.import_images(project, [picture])
    found = doctor(project)
    assert found["Connected model"][0] == "✗"
    assert "Connect Model" in found["Connected model"][1]
    assert found["A click"] == ("✓", found["A click"][1])
    assert "makes a mask here" in found["A click"][1]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"is_interactive": 0}, "switch on Interactive preannotations"),
        ({"url": "http://localhost:9"}, "cannot reach"),
    ],
)
def test_the_model_is_not_asked(
    doctor: Doctor,
    studio: LabelStudio,
    make_project: MakeProject,
    back_end: BackEnd,
    broken: dict[str, Any],
    said: str,
) -> None:
    project = make_project("brush", back_end)
    edit(studio, project.model_id, **broken)
    assert doctor(project.id)["Connected model"][0] == "✗"
    assert said in doctor(project.id)["Connected model"][1]


def test_another_model_comes_first(
    doctor: Doctor, studio: LabelStudio, make_project: MakeProject, start_back_end: StartBackEnd
) -> None:
    other = start_back_end({})
    project = make_project("brush", other)
    edit(studio, project.model_id, title="another")
    ours = start_back_end({})
    studio.connect_model(project.id, ours.url, "SAM")
    (sign, said) = doctor(project.id, address=ours.url)["Connected model"]
    assert (sign, "'another', which comes before" in said) == ("✗", True)


def test_the_model_wants_a_password(
    doctor: Doctor, studio: LabelStudio, make_project: MakeProject, start_back_end: StartBackEnd
) -> None:
    back_end = start_back_end({"BASIC_AUTH_USER": "ann", "BASIC_AUTH_PASS": "sesame"})
    project = make_project("brush", back_end, ("ann", "sesame"))
    edit(studio, project.model_id, basic_auth_pass="wrong")
    found = doctor(project.id, address=back_end.url)
    assert found["From Label Studio to here"][0] == "✓"  # it arrives, and is not let in
    assert found["Connected model"][0] == "✗"
    assert "BASIC_AUTH_PASS" in found["Connected model"][1]


NO_OUTPUT = """<View><Image name="image" value="$image"/>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="Object"/></KeyPointLabels>
</View>"""


OTHER_LABELS = """<View><Image name="image" value="$image"/>
<BrushLabels name="mask" toName="image"><Label value="Person"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="Object"/></KeyPointLabels>
</View>"""


@pytest.mark.parametrize(
    ("config", "said"),
    [(NO_OUTPUT, "can hold a mask"), (OTHER_LABELS, "label 'Object' of the prompt is missing")],
)
def test_a_label_config_that_takes_no_mask(
    doctor: Doctor, studio: LabelStudio, config: str, said: str
) -> None:
    project = studio.create_project("config", config)
    assert doctor(project)["Label config"][0] == "✗"
    assert said in doctor(project)["Label config"][1]


def test_an_image_is_missing(doctor: Doctor, studio: LabelStudio, project: Project) -> None:
    config = (REPOSITORY / "label_configs" / "brush.xml").read_text()
    lost = studio.create_project("lost", config)
    studio.import_tasks(lost, [{"data": {"image": "/data/upload/1/gone.png"}}])
    (sign, said) = doctor(lost)["Images"]
    assert (sign, "from uploads" in said) == ("✗", True)


def test_an_image_on_a_private_address(
    doctor: Doctor, studio: LabelStudio, back_end: BackEnd
) -> None:
    config = (REPOSITORY / "label_configs" / "brush.xml").read_text()
    inside = studio.create_project("inside", config)
    studio.import_tasks(inside, [{"data": {"image": f"{back_end.url}/picture.png"}}])
    (sign, said) = doctor(inside)["Images"]
    assert (sign, "ALLOWED_IMAGE_HOSTS" in said) == ("✗", True)


def test_an_image_of_another_size_than_in_the_browser(
    doctor: Doctor, studio: LabelStudio, make_project: MakeProject, back_end: BackEnd
) -> None:
    project = make_project("brush", back_end)
    upload = studio.task(project.new_task())["data"]["image"]
    region = {
        "id": "a",
        "type": "rectangle",
        "from_name": "box",
        "to_name": "image",
        "original_width": 2 * WIDTH,
        "original_height": 2 * HEIGHT,
        "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 0},
    }
    config = (REPOSITORY / "label_configs" / "brush.xml").read_text()
    resized = studio.create_project("resized", config)
    task = {"data": {"image": upload}, "annotations": [{"result": [region]}]}
    studio.import_tasks(resized, [task])
    (sign, said) = doctor(resized)["Images"]
    assert (sign, "a mask would be shifted" in said) == ("✗", True)


def test_another_label_studio_that_is_not_trusted(
    doctor: Doctor, start_back_end: StartBackEnd, make_project: MakeProject, studio: LabelStudio
) -> None:
    back_end = start_back_end({})
    project = make_project("brush", back_end)
    assert click(studio, project.model_id, project.new_task())  # now this one is trusted
    other = {"project": f"{project.id}.1", "hostname": "http://other.example", "schema": "<View/>"}
    requests.post(f"{back_end.url}/setup", json={**other, "access_token": "t"}, timeout=30)
    found = doctor(
        project.id, back_end.url, str(back_end.log.parent), LABEL_STUDIO_URL="",
        LABEL_STUDIO_API_KEY="",
    )  # fmt: skip
    said = " ".join(text for _, text in found.values())
    assert "is not trusted" in said or found["Recent errors"][0] == "✗"


def test_a_setting_with_a_bad_value(doctor: Doctor) -> None:
    found = doctor(None, SAM_CHOICE="nonsense")
    assert found == {"Settings": ("✗", found["Settings"][1])}
    assert "cannot start" in found["Settings"][1]
    assert "SAM_CHOICE" in found["Settings"][1]
