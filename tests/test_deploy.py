"""The files in deploy/: they fit each other, the settings and the metrics, and lose no click."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import prometheus_client
import pytest
import requests
import yaml  # type: ignore[import-untyped]

from sam_backend import metrics
from sam_backend.settings import Settings
from tests import held
from tests.held import Held
from tests.needs import needs_weights

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
MANIFESTS = sorted(set((DEPLOY / "kubernetes").glob("*.yaml")))
GUNICORN = (DEPLOY.parent / "gunicorn.conf.py").read_text()
# What it gives them after DRAIN_SECONDS.
[RUNNING_CLICKS_S] = map(
    int,
    re.findall(r"^graceful_timeout = _settings.drain_seconds \+ (\d+)$", GUNICORN, re.MULTILINE),
)
FROM_PROMETHEUS = {"instance", "le"}  # labels that are not ours

Manifest = dict[str, Any]


def manifests() -> Iterator[Manifest]:
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] != "Kustomization":
                yield document


def manifest(kind: str, name: str = "sam") -> Manifest:
    [found] = [m for m in manifests() if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    return found


def of_container(name: str = "sam") -> Manifest:
    [container] = manifest("Deployment", name)["spec"]["template"]["spec"]["containers"]
    found: Manifest = container
    return found


def test_kubernetes_accepts_every_manifest() -> None:
    checked = [kubernetes_validate.validate(m, "1.31", strict=True) for m in manifests()]
    assert len(checked) == 8


def test_docker_compose_accepts_the_file() -> None:
    command = [str(Path(sys.executable).with_name("check-jsonschema"))]
    command += ["--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_manifest_is_applied_but_the_example_of_a_secret() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    there = {path.name for path in MANIFESTS} - {"kustomization.yaml", "secret.example.yaml"}
    assert set(listed) == there


@pytest.mark.parametrize("name", ["sam", "redis"])
def test_everything_points_to_the_pods(name: str) -> None:
    deployment = manifest("Deployment", name)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    service = manifest("Service", name)["spec"]
    assert service["selector"] == labels
    assert {port["targetPort"] for port in service["ports"]} == {
        port["name"] for port in of_container(name)["ports"]
    }
    if name == "sam":
        budget = manifest("PodDisruptionBudget")["spec"]
        assert budget["selector"]["matchLabels"] == labels
        target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("Deployment", "sam")


@pytest.mark.parametrize("name", ["sam", "redis"])
def test_no_pod_can_gain_a_right(name: str) -> None:
    pod = manifest("Deployment", name)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert of_container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in of_container(name)["resources"]["limits"]


def test_no_container_can_gain_a_right() -> None:
    for service in compose()["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True
        assert "mem_limit" in service


def test_secrets_come_from_the_secret() -> None:
    keys = set(manifest("Secret")["stringData"])
    for name in ("sam", "redis"):
        for variable in of_container(name)["env"]:
            source = variable.get("valueFrom")
            if source is not None:
                assert source["secretKeyRef"]["name"] == "sam"
                assert source["secretKeyRef"]["key"] in keys
            else:
                assert not re.search("PASS|KEY|TOKEN", variable["name"])


def test_pods_and_containers_live_until_their_clicks_have_ended() -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    [drain] = [v["value"] for v in of_container()["env"] if v["name"] == "DRAIN_SECONDS"]
    probe = of_container()["readinessProbe"]
    assert probe["httpGet"]["path"] == "/ready"
    assert probe["periodSeconds"] * probe["failureThreshold"] < int(drain)
    assert int(drain) + RUNNING_CLICKS_S < pod["terminationGracePeriodSeconds"]
    sam = compose()["services"]["sam-1"]
    drained = int(sam["environment"]["DRAIN_SECONDS"]) + RUNNING_CLICKS_S
    assert drained < int(sam["stop_grace_period"].removesuffix("s"))


def test_docker_waits_until_running_clicks_are_cut_off() -> None:
    assert RUNNING_CLICKS_S < 10


def test_the_variables_are_settings() -> None:
    source = (DEPLOY.parent / "sam_backend/settings.py").read_text()
    given = {variable["name"] for variable in of_container()["env"]}
    given |= set(compose()["services"]["sam-1"]["environment"])
    unknown = {name for name in given if f'"{name}"' not in source}
    assert unknown == {"REDIS_PASSWORD"}  # a part of CACHE_URL
    assert Settings.from_environment({"DRAIN_SECONDS": "10"}).drain_seconds == 10


def test_the_proxy_knows_the_machines_of_the_compose_file() -> None:
    named = re.findall(r"^ +server (\S+) (\S+):9090$", _haproxy(), re.MULTILINE)
    services = compose()["services"]
    assert [(name, name) for name in services if name.startswith("sam-")] == named
    assert services["proxy"]["depends_on"] == [name for name, _ in named]


def _haproxy() -> str:
    return (DEPLOY / "haproxy.cfg").read_text()


def _labels(expression: str) -> set[str]:
    """The names of the labels in a PromQL expression."""
    grouped = re.findall(r"by \(([^)]*)\)", expression)
    matched = re.findall(r"\{([^}]*)\}", expression)
    named = [part.strip() for group in grouped for part in group.split(",")]
    return {*named, *(re.split("[=!]", part)[0] for group in matched for part in group.split(","))}


def _metrics() -> Mapping[str, set[str]]:
    """The names in /metrics, and the labels of each."""
    ours = [each for each in vars(metrics).values() if hasattr(each, "_labelnames")]
    found = {}
    for metric in ours:
        for family in metric.describe():
            names = [family.name]
            if family.type == "histogram":
                names = [f"{family.name}_{end}" for end in ("bucket", "count", "sum")]
            elif family.type == "counter":
                names = [f"{family.name}_total"]
            for name in names:
                found[name] = set(metric._labelnames)
    return found


def test_the_dashboard_shows_metrics_that_exist() -> None:
    known = _metrics()
    text = prometheus_client.generate_latest().decode()
    shown = set()
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"sam_\w+", target["expr"]))
            assert names, target["expr"]
            for name in names:
                assert name in known, f"{panel['title']}: {name}"
                assert f"# TYPE {re.sub('_(bucket|count|sum)$', '', name)} " in text
            labels = set().union(*(known[name] for name in names)) | FROM_PROMETHEUS
            assert _labels(target["expr"]) <= labels, f"{panel['title']}: {target['expr']}"
            shown |= names
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in known}
    missing = families - {re.sub("_(bucket|count|sum)$", "", name) for name in shown}
    assert not missing, "the dashboard leaves metrics out"


def test_the_autoscaler_follows_a_metric_that_exists() -> None:
    [metric] = manifest("HorizontalPodAutoscaler")["spec"]["metrics"]
    asked = metric["pods"]["metric"]
    assert _metrics()[asked["name"]] == set(asked["selector"]["matchLabels"])
    assert asked["selector"]["matchLabels"] == {"queue": "clicks"}  # Admission("clicks", …)


def is_open(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def proxy(folder: Path, machines: list[Held]) -> Iterator[str]:
    """The committed configuration of haproxy, with other addresses and more patience."""
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = _haproxy().replace("bind :9090", f"bind 127.0.0.1:{port}")
    # On a busy machine, one that is well may take longer than between two checks.
    given = given.replace("timeout connect 1s", "timeout connect 60s\n    timeout check 60s")
    lines = given.splitlines()
    lines = [line for line in lines if not line.lstrip().startswith("server ")]
    lines += [f"    server s{m.port} 127.0.0.1:{m.port}" for m in machines]
    path = folder / "haproxy.cfg"
    path.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(["haproxy", "-db", "-f", str(path)], stderr=subprocess.DEVNULL)
    try:
        held.wait_until(lambda: is_open(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(held.LIMIT_S)


@needs_weights
def test_a_machine_that_stops_behind_the_proxy_fails_no_click(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    statuses: list[int] = []
    over = threading.Event()
    with (
        held.running(folders[0], DRAIN_SECONDS="5") as stops,
        held.running(folders[1]) as stays,
        proxy(tmp_path, [stops, stays]) as url,
    ):
        stops.go()
        stays.go()
        held.wait_until(lambda: held.get(f"{url}/ready").ok)

        def click(annotator: int) -> None:
            number = 0
            while not over.is_set():
                number += 1
                content = held.body(100 * annotator + number, 1 + number % 200)
                headers = {"Content-Type": "application/json"}
                answer = requests.post(
                    f"{url}/predict", content, headers=headers, timeout=held.LIMIT_S
                )
                statuses.append(answer.status_code)
                time.sleep(0.05)

        # Of two, at most one waits for the other. A third one may be refused on a busy machine.
        annotators = [threading.Thread(target=click, args=(n,)) for n in range(2)]
        for annotator in annotators:
            annotator.start()
        held.wait_until(lambda: stops.done("decode") and stays.done("decode"))
        stops.hold()  # a click runs there while it stops
        held.wait_until(lambda: stops.queue("clicks") > 0)
        stops.process.send_signal(signal.SIGTERM)
        time.sleep(3)
        stops.go()
        assert stops.process.wait(held.LIMIT_S) == 0
        count = len(statuses)
        held.wait_until(lambda: len(statuses) > count + 5)
        over.set()
        for annotator in annotators:
            annotator.join()
    assert set(statuses) == {200}
