"""download_models.sh, run for real on small files: the hashes and sizes in a copy are theirs."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "download_models.sh"
CONTENT = {
    name: hashlib.sha256(name.encode()).digest() * 4000
    for name in ("mobile_sam/encoder.onnx", "mobile_sam/decoder.onnx", "sam_vit_b_01ec64.pth")
}

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


@dataclass
class Source:
    """A web server with the files; `breaks_at` cuts an answer off after so many bytes."""

    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    breaks_at: int | None = None
    ranges: bool = True
    serves: dict[str, bytes] = field(default_factory=lambda: dict(CONTENT))


@pytest.fixture
def source() -> Iterator[Source]:
    state = Source()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path.lstrip("/"), self.headers.get("Range")
            state.asked.append((name, wanted))
            if name not in state.serves:
                self.send_error(404)
                return
            body, start = state.serves[name], 0
            if wanted and state.ranges:
                start = int(wanted.removeprefix("bytes=").partition("-")[0])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : state.breaks_at])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()


@dataclass
class Place:
    script: Path
    models: Path

    def run(self, mirror: str | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.script), *arguments],
            env=os.environ | {"MODEL_DIR": str(self.models), "MODELS_MIRROR": str(mirror)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def holds(self, *names: str) -> bool:
        found = {p.relative_to(self.models).as_posix() for p in self.models.rglob("*.[op]*")}
        return found == set(names) and all(
            (self.models / name).read_bytes() == CONTENT[name] for name in names
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    text = SCRIPT.read_text()
    for name, content in CONTENT.items():
        row = rf"\|{re.escape(name)}\|\d+\|[0-9a-f]{{64}}\|"
        small = f"|{name}|{len(content)}|{hashlib.sha256(content).hexdigest()}|"
        text, count = re.subn(row, small, text)
        assert count == 1
    script = tmp_path / "download_models.sh"
    script.write_text(text)
    return Place(script, tmp_path / "my models")


PAIR = ("mobile_sam/encoder.onnx", "mobile_sam/decoder.onnx")


def test_fetches_the_default_model_and_says_how_large_it_is(place: Place, source: Source) -> None:
    done = place.run(source.url)
    assert done.returncode == 0, done.stderr
    assert "2 file(s), 1 MB" in done.stdout
    assert place.holds(*PAIR)


def test_a_second_run_fetches_nothing(place: Place, source: Source) -> None:
    place.run(source.url)
    source.asked.clear()
    done = place.run(source.url)
    assert (done.returncode, source.asked) == (0, [])
    assert done.stdout.count("already there") == 2


def test_works_from_a_folder_with_spaces_in_its_name(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "usb stick"
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    assert place.run(folder, "--model", "sam_vit_b").returncode == 0
    assert place.holds("sam_vit_b_01ec64.pth")


def test_goes_on_where_an_interrupted_run_stopped(place: Place, source: Source) -> None:
    source.breaks_at = 50_000
    cut = place.run(source.url)
    assert cut.returncode == 1
    assert "another run goes on from" in cut.stderr
    assert not (place.models / PAIR[0]).exists()
    source.breaks_at = None
    source.asked.clear()
    assert place.run(source.url).returncode == 0
    assert source.asked == [(name, "bytes=50000-") for name in PAIR]
    assert place.holds(*PAIR)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("length", [100, len(CONTENT[PAIR[0]]), 500_000])
def test_a_damaged_unfinished_file_is_thrown_away(
    place: Place, source: Source, length: int, ranges: bool
) -> None:
    source.ranges = ranges
    (place.models / "mobile_sam").mkdir(parents=True)
    (place.models / f"{PAIR[0]}.part").write_bytes(b"x" * length)
    done = place.run(source.url)
    assert done.returncode == 0, done.stderr
    assert place.holds(*PAIR)


def test_wrong_bytes_never_take_the_place_of_a_file(place: Place, source: Source) -> None:
    place.run(source.url)
    (place.models / PAIR[0]).write_bytes(b"an older version")
    source.serves[PAIR[0]] = b"z" * len(CONTENT[PAIR[0]])
    done = place.run(source.url)
    assert done.returncode == 1
    assert "SHA-256 is wrong" in done.stderr
    assert (place.models / PAIR[0]).read_bytes() == b"an older version"


def test_a_damaged_file_is_replaced(place: Place, source: Source) -> None:
    place.run(source.url)
    (place.models / PAIR[1]).write_bytes(CONTENT[PAIR[1]][:-1])
    assert place.run(source.url).returncode == 0
    assert place.holds(*PAIR)


def test_a_missing_file_is_named_and_the_others_are_fetched(place: Place, source: Source) -> None:
    del source.serves[PAIR[0]]
    done = place.run(source.url)
    assert done.returncode == 1
    assert f"{PAIR[0]}: no source had it" in done.stderr
    assert place.holds(PAIR[1])


HQ = "sam_hq_vit_tiny.pth"


def test_a_file_without_a_known_hash_is_fetched_and_its_hash_is_shown(
    place: Place, source: Source
) -> None:
    source.serves[HQ] = b"weights" * 1000
    done = place.run(source.url, "--model", "sam_hq_vit_tiny")
    assert done.returncode == 0, done.stderr
    assert "publish no SHA-256, so it could not be checked" in done.stdout
    assert hashlib.sha256(source.serves[HQ]).hexdigest() in done.stdout
    assert (place.models / HQ).read_bytes() == source.serves[HQ]
    source.asked.clear()
    again = place.run(source.url, "--model", "sam_hq_vit_tiny")
    assert (again.returncode, source.asked) == (0, [])
    (place.models / HQ).write_bytes(b"damaged")
    assert place.run(source.url, "--model", "sam_hq_vit_tiny").returncode == 0
    assert (place.models / HQ).read_bytes() == source.serves[HQ]


def test_another_file_than_the_one_of_the_first_download_is_not_put_in_place(
    place: Place, source: Source
) -> None:
    source.serves[HQ] = b"weights" * 1000
    assert place.run(source.url, "--model", "sam_hq_vit_tiny").returncode == 0
    kept = (place.models / f"{HQ}.sha256").read_text()
    (place.models / HQ).unlink()
    source.serves[HQ] = b"other weights" * 1000
    done = place.run(source.url, "--model", "sam_hq_vit_tiny")
    assert done.returncode == 1
    assert f"{HQ}: not the file of the first download" in done.stderr
    assert not (place.models / HQ).exists()
    assert (place.models / f"{HQ}.sha256").read_text() == kept


def test_a_file_without_a_known_hash_that_breaks_off_is_not_put_in_place(
    place: Place, source: Source
) -> None:
    source.serves[HQ], source.breaks_at = b"weights" * 1000, 500
    assert place.run(source.url, "--model", "sam_hq_vit_tiny").returncode == 1
    assert not (place.models / HQ).exists()


@pytest.mark.parametrize("arguments", [["--model", "sam9"], ["--model"], ["sam_vit_b"]])
def test_a_wrong_call_prints_the_usage(place: Place, arguments: list[str]) -> None:
    done = place.run("", *arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert not place.models.exists()


def test_shellcheck_has_nothing_to_say() -> None:
    checker = shutil.which("shellcheck")
    if not checker:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([checker, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_a_file_that_its_makers_packed_is_unpacked(place: Place, source: Source) -> None:
    name, content = "efficient_sam_vits.pt", b"weights" * 1000
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    source.serves[f"{name}.zip"] = packed.getvalue()
    text, count = re.subn(
        r"(?m)^EFFICIENT=.*$", f"EFFICIENT={source.url}", place.script.read_text()
    )
    assert count == 1
    place.script.write_text(text)
    done = place.run("", "--model", "efficient_sam_vits")
    assert done.returncode == 0, done.stderr
    assert (place.models / name).read_bytes() == content
    assert hashlib.sha256(content).hexdigest() in done.stdout
    source.serves.clear()
    (place.models / name).unlink()
    assert place.run("", "--model", "efficient_sam_vits").returncode == 1
    assert not (place.models / name).exists()
