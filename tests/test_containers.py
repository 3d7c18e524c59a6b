"""What the containers may do: as little as the back end needs. Docker itself is not needed here."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.needs import REPOSITORY

OURS = ("sam", "sam-gpu")


def interpolated(text: str, **environ: str) -> str:
    """`${NAME:-default}` as Docker Compose reads it."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], text)


def services(**environ: str) -> dict[str, dict[str, Any]]:
    compose = yaml.safe_load(
        interpolated((REPOSITORY / "docker-compose.yml").read_text(), **environ)
    )
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def test_no_container_can_gain_a_right() -> None:
    for service in services().values():
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")


def test_the_back_end_writes_to_its_volume_and_to_memory_alone() -> None:
    for name in OURS:
        service = services()[name]
        assert service["read_only"] is True
        assert service["volumes"] == ["sam:/data"]
        (tmpfs,) = service["tmpfs"]
        folder, options = tmpfs.split(":")
        assert folder == "/tmp"
        assert {"size=1g", "nosuid", "nodev", "noexec"} <= set(options.split(","))


def test_the_back_end_takes_no_more_than_its_share_of_the_machine() -> None:
    for name in OURS:
        assert services()[name]["mem_limit"] == "4g"
        assert services(MEMORY="12g")[name]["mem_limit"] == "12g"
        assert services()[name]["pids_limit"] == 1024


def test_only_this_machine_reaches_the_ports_unless_the_operator_says_otherwise() -> None:
    for service in services().values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    opened = services(PUBLISH="0.0.0.0", PORT="9191")
    assert opened["sam"]["ports"] == ["0.0.0.0:9191:9090"]


def test_every_image_can_be_pinned_by_its_digest() -> None:
    pinned = services(
        PYTHON_IMAGE="python@sha256:1", NODE_IMAGE="node@sha256:2", STUDIO_IMAGE="studio@sha256:3"
    )
    for name in OURS:
        arguments = pinned[name]["build"]["args"]
        assert arguments["PYTHON_IMAGE"] == "python@sha256:1"
        assert arguments["NODE_IMAGE"] == "node@sha256:2"
    assert pinned["studio"]["image"] == "studio@sha256:3"
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert bases == ["${NODE_IMAGE}", "${PYTHON_IMAGE}"]
    for image, default in services()["sam"]["build"]["args"].items():
        assert f"ARG {image}={default}\n" in dockerfile, "both files have the same default"


def test_nothing_runs_as_root() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    *_, user = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)
    assert user not in ("root", "0")
    assert dockerfile.index("\nUSER ") < dockerfile.index("\nCMD ")
    assert not any("user" in service for service in services().values())


def test_docker_compose_accepts_the_file() -> None:
    command = ["docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*command, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker compose is not installed")
    done = subprocess.run(
        [*command, "--profile", "*", "config", "--quiet"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
