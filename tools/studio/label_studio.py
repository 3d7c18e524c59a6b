"""Drives a real Label Studio: starts one, talks to its API, stops it.

`make studio` and the end-to-end tests use it. It signs in like a browser, with a session cookie, so
that it works with all kinds of API token.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from tools.folders import ROOT

Json = dict[str, Any]

EMAIL = "annotator@example.com"
PASSWORD = "segment-anything"  # a server on loopback with nothing to protect
START_LIMIT_S = 600.0  # the first start of a data directory runs every database migration
REQUEST_LIMIT_S = 300.0  # an export of many masks takes a while

# Label Studio refuses loopback addresses for models and for the webhooks it makes with them, and
# the legacy token that it sends in /setup. The other switches keep it from calling home.
SWITCHES = {
    "ML_BLOCK_LOCAL_IP": "false",
    "USE_DEFAULT_BANNED_SUBNETS": "false",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LATEST_VERSION_CHECK": "False",
    "COLLECT_ANALYTICS": "False",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}


class LabelStudioError(RuntimeError):
    """Label Studio did not start, or refused a request."""


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_executable() -> Path:
    """`label-studio` from $LABEL_STUDIO_BIN or from the venv that `make studio` makes."""
    named = os.environ.get("LABEL_STUDIO_BIN")
    return Path(named) if named else ROOT / ".venv-studio" / "bin" / "label-studio"


class LabelStudio:
    """One Label Studio server on the loopback interface, and its API."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        local_files: Path | None = None,
        switches: Mapping[str, str] = SWITCHES,
    ) -> None:
        """`local_files` is the folder that may contain local storages. None turns them off."""
        self.data_dir = data_dir
        self._switches = switches
        self.executable = find_executable()
        self.port = port or free_port()
        # Label Studio uses this name in /setup, and cookies and tokens depend on the origin.
        self.url = f"http://localhost:{self.port}"
        self.log = data_dir / "label-studio.log"
        self._local_files = local_files
        self._process: subprocess.Popen[bytes] | None = None
        self._personal_token: str | None = None
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy lies between this and the loopback interface

    @property
    def legacy_token(self) -> str:
        """The legacy API token of the one user."""
        return str(self._get("/api/current-user/token")["token"])

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of a signed-in browser."""
        return dict(self._session.cookies.items())

    def start(self) -> None:
        """Start the server and sign in; raise LabelStudioError with the log's end if it fails."""
        if not self.executable.is_file():
            raise LabelStudioError(f"there is no Label Studio at {self.executable}")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [self.executable, "start", "--no-browser"]
        command += ["--data-dir", self.data_dir, "--internal-host", "127.0.0.1"]
        command += ["--port", str(self.port), "--username", EMAIL, "--password", PASSWORD]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.data_dir,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches the caller first
            )
        try:
            self._wait_until_up()
            self._sign_in()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server that this object started."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def wait(self) -> int:
        """Wait until the server ends by itself, and return its exit status."""
        return self._process.wait() if self._process else 0

    @property
    def version(self) -> tuple[int, ...]:
        """Such as (1, 23, 2)."""
        release = str(self._get("/api/version/")["release"])
        return tuple(int(part) for part in release.split(".")[:3] if part.isdecimal())

    def create_project(self, title: str, label_config: str) -> int:
        """Create a project and return its id."""
        body = {"title": title, "label_config": label_config}
        return int(self._post("/api/projects", body)["id"])

    def projects(self) -> list[Json]:
        """All projects, newest first."""
        return list(self._get("/api/projects?page_size=1000")["results"])

    def import_images(self, project_id: int, paths: Sequence[Path]) -> list[int]:
        """Upload images, one task each, and return the ids of the tasks."""
        with ExitStack() as stack:
            # Under one field name, Label Studio takes the last file only.
            opened = [(path.name, stack.enter_context(path.open("rb"))) for path in paths]
            files = {f"file{number}": file for number, file in enumerate(opened)}
            path = f"/api/projects/{project_id}/import?return_task_ids=true"
            return list(self._call("POST", path, files=files).json()["task_ids"])

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Import tasks in Label Studio's JSON format and return their ids."""
        path = f"/api/projects/{project_id}/import?return_task_ids=true"
        return list(self._post(path, list(tasks))["task_ids"])

    def connect_model(
        self, project_id: int, url: str, title: str, auth: tuple[str, str] | None = None
    ) -> int:
        """Connect an interactive ML back end, with a user and password if given; return its id."""
        body: Json = {"project": project_id, "url": url, "title": title, "is_interactive": True}
        if auth:
            body |= dict(zip(("basic_auth_user", "basic_auth_pass"), auth, strict=True))
            body["auth_method"] = "BASIC_AUTH"
        return int(self._post("/api/ml", body)["id"])

    def change_model(self, model_id: int, **fields: object) -> None:
        """Edit a connected ML back end, as the model form does."""
        self._call("PATCH", f"/api/ml/{model_id}", json=fields)

    def models(self, project_id: int) -> list[Json]:
        """The ML back ends connected to a project, each checked anew by Label Studio."""
        return list(self._call("GET", f"/api/ml?project={project_id}").json())

    def click(self, model_id: int, task_id: int, regions: Sequence[Mapping[str, Any]]) -> Json:
        """The editor's request after a smart prompt. The model's prediction is under "data"."""
        body = {"task": task_id, "context": {"result": list(regions)}}
        return self._post(f"/api/ml/{model_id}/interactive-annotating", body)

    def add_local_storage(self, project_id: int, path: Path) -> int:
        """Import the files in a folder below `local_files` as tasks; return the storage's id."""
        body = {"project": project_id, "path": str(path), "use_blob_urls": True}
        storage = int(self._post("/api/storages/localfiles", body)["id"])
        self._post(f"/api/storages/localfiles/{storage}/sync", {})
        return storage

    def task(self, task_id: int) -> Json:
        """One task with its annotations and drafts."""
        return self._get(f"/api/tasks/{task_id}")

    def tasks(self, project_id: int) -> list[Json]:
        """All tasks of a project."""
        path = f"/api/tasks?project={project_id}&page_size=1000&fields=all"
        return list(self._get(path)["tasks"])

    def show_predictions(self, project_id: int, model_version: str) -> None:
        """Makes annotators start from the predictions of this version."""
        body = {"model_version": model_version, "show_collab_predictions": True}
        self._call("PATCH", f"/api/projects/{project_id}", json=body)

    def retrieve_predictions(self, project_id: int, task_ids: Sequence[int]) -> None:
        """Retrieves predictions for selected tasks, as in the Data Manager."""
        path = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project_id}"
        self._post(path, {"selectedItems": {"all": False, "included": list(task_ids)}})

    def export(self, project_id: int, export_type: str) -> bytes:
        """An export as Label Studio writes it: a ZIP archive when there are several files."""
        path = f"/api/projects/{project_id}/export?exportType={export_type}"
        return self._call("GET", path).content

    def personal_access_token(self) -> str:
        """The personal access token (a JWT refresh token); Label Studio gives a user one."""
        if self._personal_token is None:
            self._personal_token = str(self._post("/api/token/", {})["token"])
        return self._personal_token

    def allow_legacy_tokens(self, allowed: bool) -> None:
        """Turn legacy API tokens on or off for the organisation; new ones have them off."""
        body = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": allowed}
        self._post("/api/jwt/settings", body)

    def _environment(self) -> dict[str, str]:
        # LABEL_STUDIO_* and HOST of the caller belong to the back end and would rename this server.
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("LABEL_STUDIO_", "HEARTEX_")) and key not in {"HOST", "PORT"}
        }
        if self._local_files:
            kept["LOCAL_FILES_DOCUMENT_ROOT"] = str(self._local_files)
        kept["LOCAL_FILES_SERVING_ENABLED"] = str(bool(self._local_files)).lower()
        return kept | dict(self._switches)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                if self._session.get(f"{self.url}/health", timeout=5).ok:
                    return
            except requests.RequestException:
                time.sleep(0.2)
        end = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        raise LabelStudioError(f"Label Studio did not start. The end of {self.log}:\n{end}")

    def _sign_in(self) -> None:
        page = f"{self.url}/user/login/"
        self._session.get(page, timeout=REQUEST_LIMIT_S).raise_for_status()
        form = {"email": EMAIL, "password": PASSWORD, "csrfmiddlewaretoken": self._csrf_token()}
        answer = self._session.post(page, data=form, timeout=REQUEST_LIMIT_S, allow_redirects=False)
        if answer.status_code != requests.codes.found:
            raise LabelStudioError(f"cannot sign in to {self.url} as {EMAIL}")

    def _csrf_token(self) -> str:
        return str(self._session.cookies["csrftoken"])

    def _get(self, path: str) -> Json:
        return dict(self._call("GET", path).json())

    def _post(self, path: str, body: object) -> Json:
        return dict(self._call("POST", path, json=body).json())

    def _call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"X-CSRFToken": self._csrf_token(), "Referer": self.url}
        answer = self._session.request(
            method, self.url + path, headers=headers, timeout=REQUEST_LIMIT_S, **kwargs
        )
        if not answer.ok:
            raise LabelStudioError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer
