"""Drives a real Label Studio: starts one, talks to its API, stops it.

Used by `make studio` and by the end-to-end tests. It signs in as a browser does, with a session
cookie, so that it works whatever kinds of API token the organisation allows.
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

ROOT = Path(__file__).resolve().parents[1]
EMAIL = "annotator@example.com"
PASSWORD = "segment-anything"  # a loopback server without anything worth protecting
START_LIMIT_S = 180.0  # the first start of a data directory runs every database migration
REQUEST_LIMIT_S = 120.0  # an export of many masks takes a while

# Label Studio refuses loopback addresses for models and for the webhooks it makes with them;
# the others keep it from calling home.
SWITCHES = {
    "ML_BLOCK_LOCAL_IP": "false",
    "USE_DEFAULT_BANNED_SUBNETS": "false",
    "LATEST_VERSION_CHECK": "False",
    "COLLECT_ANALYTICS": "False",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}


class LabelStudioError(RuntimeError):
    """Label Studio did not start, or refused a request."""


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
        executable: Path | None = None,
        port: int | None = None,
        local_files: Path | None = None,
    ) -> None:
        """`local_files` is the folder below which local storages may lie; None turns them off."""
        self.data_dir = data_dir
        self.executable = executable or find_executable()
        self.port = port or free_port()
        # The name that Label Studio gives itself in /setup: cookies and tokens go by origin.
        self.url = f"http://localhost:{self.port}"
        self.log = data_dir / "label-studio.log"
        self._local_files = local_files
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()

    @property
    def legacy_token(self) -> str:
        """The legacy API token of the one user."""
        return str(self._get("/api/current-user/token")["token"])

    @property
    def cookies(self) -> dict[str, str]:
        """What a browser needs to be signed in."""
        return dict(self._session.cookies.items())

    def start(self) -> None:
        """Start the server and sign in; raise LabelStudioError with the log's end if it fails."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [self.executable, "start", "--no-browser"]
        command += ["--data-dir", self.data_dir, "--internal-host", "127.0.0.1"]
        command += ["--port", str(self.port), "--username", EMAIL, "--password", PASSWORD]
        # The token that Label Studio sends in /setup is a legacy one.
        command += ["--enable-legacy-api-token"]
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
        for how in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, how)
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    continue

    def wait(self) -> int:
        """Wait until the server ends by itself, and return its exit status."""
        return self._process.wait() if self._process else 0

    def create_project(self, title: str, label_config: str) -> int:
        """Create a project and return its id."""
        answer = self._post("/api/projects", {"title": title, "label_config": label_config})
        return int(answer["id"])

    def projects(self) -> list[dict[str, Any]]:
        """All projects, newest first."""
        found: list[dict[str, Any]] = self._get("/api/projects?page_size=1000")["results"]
        return found

    def import_images(self, project_id: int, paths: Sequence[Path]) -> list[int]:
        """Upload images, one task each, and return the ids of the tasks."""
        with ExitStack() as stack:
            # Under one field name, Label Studio takes the last file only.
            files = [
                (f"file{number}", (path.name, stack.enter_context(path.open("rb"))))
                for number, path in enumerate(paths)
            ]
            answer = self._call("POST", self._import_path(project_id), files=files).json()
        return list(answer["task_ids"])

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Import tasks in Label Studio's JSON format and return their ids."""
        return list(self._post(self._import_path(project_id), list(tasks))["task_ids"])

    def connect_model(
        self,
        project_id: int,
        url: str,
        title: str,
        user: str | None = None,
        password: str | None = None,
    ) -> int:
        """Connect an interactive ML back end and return its id."""
        body: dict[str, Any] = {
            "project": project_id,
            "url": url,
            "title": title,
            "is_interactive": True,
        }
        if user is not None:
            body |= {
                "auth_method": "BASIC_AUTH",
                "basic_auth_user": user,
                "basic_auth_pass": password,
            }
        return int(self._post("/api/ml", body)["id"])

    def models(self, project_id: int) -> list[dict[str, Any]]:
        """The ML back ends connected to a project, each checked anew by Label Studio."""
        found: list[dict[str, Any]] = self._get(f"/api/ml?project={project_id}")
        return found

    def click(
        self, model_id: int, task_id: int, regions: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """What the editor does after a smart prompt; the model's prediction is under "data"."""
        body = {"task": task_id, "context": {"result": list(regions)}}
        answer: dict[str, Any] = self._post(f"/api/ml/{model_id}/interactive-annotating", body)
        return answer

    def add_local_storage(self, project_id: int, path: Path) -> int:
        """Import the files in a folder below `local_files` as tasks; return the storage's id."""
        body = {"project": project_id, "path": str(path), "use_blob_urls": True}
        storage = int(self._post("/api/storages/localfiles", body)["id"])
        self._post(f"/api/storages/localfiles/{storage}/sync", {})
        return storage

    def task(self, task_id: int) -> dict[str, Any]:
        """One task with its annotations, drafts and predictions."""
        found: dict[str, Any] = self._get(f"/api/tasks/{task_id}")
        return found

    def tasks(self, project_id: int) -> list[dict[str, Any]]:
        """All tasks of a project."""
        answer = self._get(f"/api/tasks?project={project_id}&page_size=1000&fields=all")
        found: list[dict[str, Any]] = answer["tasks"]
        return found

    def export(self, project_id: int, export_type: str) -> bytes:
        """An export of the annotated tasks as Label Studio writes it: JSON, or a ZIP archive."""
        path = f"/api/projects/{project_id}/export?exportType={export_type}"
        return self._call("GET", path).content

    def personal_access_token(self) -> str:
        """A new personal access token (a JWT refresh token)."""
        return str(self._post("/api/token/", {})["token"])

    def allow_legacy_tokens(self, allowed: bool) -> None:
        """Turn legacy API tokens on or off for the organisation; new ones have them off."""
        self._post(
            "/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": allowed}
        )

    def _environment(self) -> dict[str, str]:
        # LABEL_STUDIO_* and HOST of the caller are meant for the back end, and would rename this.
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("LABEL_STUDIO_", "HEARTEX_")) and key not in {"HOST", "PORT"}
        }
        local = {"LOCAL_FILES_SERVING_ENABLED": "false"}
        if self._local_files:
            local = {
                "LOCAL_FILES_SERVING_ENABLED": "true",
                "LOCAL_FILES_DOCUMENT_ROOT": str(self._local_files),
            }
        return kept | SWITCHES | local

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise LabelStudioError(f"Label Studio ended while starting:\n{self._log_end()}")
            try:
                if self._session.get(f"{self.url}/health", timeout=5).ok:
                    return
            except requests.RequestException:
                time.sleep(0.2)
        raise LabelStudioError(
            f"Label Studio is not up after {START_LIMIT_S:.0f} s:\n{self._log_end()}"
        )

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _sign_in(self) -> None:
        page = f"{self.url}/user/login/"
        self._session.get(page, timeout=REQUEST_LIMIT_S).raise_for_status()
        form = {"email": EMAIL, "password": PASSWORD, "csrfmiddlewaretoken": self._csrf_token()}
        answer = self._session.post(page, data=form, timeout=REQUEST_LIMIT_S, allow_redirects=False)
        if answer.status_code != requests.codes.found:
            raise LabelStudioError(f"cannot sign in to {self.url} as {EMAIL}")

    def _csrf_token(self) -> str:
        return str(self._session.cookies["csrftoken"])

    @staticmethod
    def _import_path(project_id: int) -> str:
        return f"/api/projects/{project_id}/import?return_task_ids=true"

    def _get(self, path: str) -> Any:
        return self._call("GET", path).json()

    def _post(self, path: str, body: Any) -> Any:
        return self._call("POST", path, json=body).json()

    def _call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"X-CSRFToken": self._csrf_token(), "Referer": self.url}
        answer = self._session.request(
            method, self.url + path, headers=headers, timeout=REQUEST_LIMIT_S, **kwargs
        )
        if not answer.ok:
            raise LabelStudioError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer
