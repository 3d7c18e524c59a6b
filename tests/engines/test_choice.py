"""Which engine the settings choose, and what they say when it cannot be had."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from sam_backend.engines import optional_packages, plans, weights
from sam_backend.engines.arithmetic import ONNX_F32, OPENVINO_BF16, OPENVINO_F32
from sam_backend.engines.choice import EnginePlan, check, open_engine, plan
from sam_backend.errors import SettingsError
from sam_backend.settings import Settings
from tests.needs import PAIR, REPOSITORY, need_files


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that OpenVINO is not taken for, unless a test says so."""
    monkeypatch.setattr("platform.machine", lambda: "aarch64")


@pytest.fixture
def torch_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_packages, "torch_installed", lambda: True)
    monkeypatch.setattr(plans, "_has_gpu", lambda device: device.startswith("cuda"))


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_packages, "torch_installed", lambda: False)


def planned(models: Path, **environ: str) -> EnginePlan:
    return plan(Settings.from_environment({"MODEL_DIR": str(models), **environ}))


def put(models: Path, *names: str) -> None:
    for name in names:
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        (models / name).write_bytes(b"weights")


def names(chosen: EnginePlan, models: Path) -> list[str]:
    return [path.relative_to(models).as_posix() for path in chosen.files]


MOBILE = ("mobile_sam/encoder.onnx", "mobile_sam/decoder.onnx")


@pytest.mark.usefixtures("no_torch")
def test_the_default_is_mobilesam_on_onnx_runtime(tmp_path: Path) -> None:
    chosen = planned(tmp_path)
    assert (chosen.name, chosen.runtime, chosen.device) == ("MobileSAM", "onnx", "auto")
    assert names(chosen, tmp_path) == [*MOBILE]


@pytest.mark.usefixtures("torch_there")
@pytest.mark.parametrize(
    ("device", "there", "runtime"),
    [
        ("cpu", (*MOBILE, "mobile_sam.pt"), "onnx"),
        ("cuda", (*MOBILE, "mobile_sam.pt"), "torch"),
        ("cuda", MOBILE, "onnx"),
        ("cpu", ("mobile_sam.pt",), "torch"),
        ("cpu", (), "onnx"),
    ],
)
def test_auto_takes_the_fastest_that_is_there(
    tmp_path: Path, device: str, there: tuple[str, ...], runtime: str
) -> None:
    put(tmp_path, *there)
    chosen = planned(tmp_path, DEVICE=device)
    assert chosen.runtime == runtime
    assert names(chosen, tmp_path) == ([*MOBILE] if runtime == "onnx" else ["mobile_sam.pt"])


@pytest.mark.usefixtures("no_torch")
def test_a_checkpoint_of_the_seed_is_served_by_the_pair_beside_it(tmp_path: Path) -> None:
    put(tmp_path, *MOBILE)
    chosen = planned(tmp_path, MOBILESAM_CHECKPOINT=str(tmp_path / "mobile_sam.pt"))
    assert (chosen.runtime, names(chosen, tmp_path)) == ("onnx", [*MOBILE])


@pytest.mark.usefixtures("torch_there")
@pytest.mark.parametrize(
    ("name", "model", "file"),
    [
        ("SAM", "SAM-H", "sam_vit_h_4b8939.pth"),
        ("sam-h", "SAM-H", "sam_vit_h_4b8939.pth"),
        ("SAM-L", "SAM-L", "sam_vit_l_0b3195.pth"),
        ("SAM-B", "SAM-B", "sam_vit_b_01ec64.pth"),
    ],
)
def test_sam_means_its_official_checkpoints(
    tmp_path: Path, name: str, model: str, file: str
) -> None:
    chosen = planned(tmp_path, SAM_CHOICE=name)
    assert (chosen.name, chosen.runtime) == (model, "torch")
    assert names(chosen, tmp_path) == [file]
    folder = file.removesuffix(".pth")
    put(tmp_path, file, f"{folder}/encoder.onnx", f"{folder}/decoder.onnx")
    assert planned(tmp_path, SAM_CHOICE=name).runtime == "onnx"
    assert planned(tmp_path, SAM_CHOICE=name, SAM_ENGINE="torch").runtime == "torch"


@pytest.mark.parametrize(
    ("given", "encoder", "decoder"),
    [
        ("sam", "sam/encoder.onnx", "sam/decoder.onnx"),
        ("sam/vit_b.decoder.onnx", "sam/vit_b.encoder.onnx", "sam/vit_b.decoder.onnx"),
        ("sam/sam_onnx_example.onnx", "sam/encoder.onnx", "sam/sam_onnx_example.onnx"),
    ],
)
def test_onnx_takes_a_folder_or_a_decoder(
    tmp_path: Path, given: str, encoder: str, decoder: str
) -> None:
    chosen = planned(tmp_path, SAM_CHOICE="ONNX", ONNX_CHECKPOINT=str(tmp_path / given))
    assert (chosen.runtime, names(chosen, tmp_path)) == ("onnx", [encoder, decoder])


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("environ", "there", "words"),
    [
        ({}, (), "MOBILESAM_CHECKPOINT: .*encoder.onnx does not exist: ./download_models.sh"),
        ({}, MOBILE, "not a readable ONNX file"),
        ({"SAM_CHOICE": "SAM"}, (), "VITH_CHECKPOINT: .* needs PyTorch: pip install -r"),
        ({"SAM_CHOICE": "ONNX"}, (), "ONNX_CHECKPOINT: .* onnx_converter.py makes"),
        ({"SAM_ENGINE": "torch"}, MOBILE, "needs PyTorch"),
    ],
)
def test_missing_parts_are_reported_in_one_line(
    tmp_path: Path, environ: dict[str, str], there: tuple[str, ...], words: str
) -> None:
    put(tmp_path, *there)
    with pytest.raises(SettingsError, match=words) as caught:
        check(planned(tmp_path, **environ))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_torch")
def test_a_file_of_another_kind_is_no_folder_of_weights(tmp_path: Path) -> None:
    put(tmp_path, "notes.txt")
    with pytest.raises(SettingsError, match=r"notes.txt is neither a folder with encoder.onnx"):
        check(planned(tmp_path, MOBILESAM_CHECKPOINT=str(tmp_path / "notes.txt")))


def test_a_gpu_needs_a_build_of_onnx_runtime_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ModuleSpec("onnxruntime", None, is_package=True)
    build.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: build)
    optional_packages.need_onnx_device("auto")
    with pytest.raises(SettingsError, match="DEVICE='cuda:1': this ONNX Runtime has no such"):
        optional_packages.need_onnx_device("cuda:1")
    put(tmp_path, "capi/libonnxruntime_providers_cuda.so")
    optional_packages.need_onnx_device("cuda:1")
    with pytest.raises(SettingsError, match="DEVICE='mps'"):
        optional_packages.need_onnx_device("mps")


@pytest.mark.usefixtures("torch_there")
def test_a_missing_checkpoint_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"download_models.sh --model sam_vit_l fetches it"):
        check(planned(tmp_path, SAM_CHOICE="SAM-L"))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SAM_CHOICE": "SAM-XL"}, "SAM_CHOICE='SAM-XL' is not one of MobileSAM, SAM, SAM-B"),
        (
            {"SAM_ENGINE": "tensorrt"},
            "SAM_ENGINE='tensorrt' is not one of auto, onnx, openvino, torch",
        ),
        ({"DEVICE": "gpu"}, "DEVICE='gpu' is not one of auto, cpu, cuda, cuda:N, mps"),
        ({"SAM_CHOICE": "ONNX", "SAM_ENGINE": "torch"}, "cannot serve SAM_CHOICE='ONNX'"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        planned(tmp_path, **environ)


def test_damaged_weights_are_found_by_their_hash(tmp_path: Path) -> None:
    need_files(*PAIR)
    for path in PAIR:
        (tmp_path / "mobile_sam").mkdir(exist_ok=True)
        (tmp_path / "mobile_sam" / path.name).write_bytes(path.read_bytes())
    chosen = planned(tmp_path, SAM_ENGINE="onnx")
    check(chosen)
    assert chosen.model_version == "MobileSAM"
    content = bytearray(PAIR[1].read_bytes())
    content[1_000_000] ^= 1
    (tmp_path / "mobile_sam/decoder.onnx").write_bytes(content)
    with pytest.raises(SettingsError, match=r"damaged .*: delete it and run ./download_models.sh"):
        check(chosen)


def test_other_weights_are_told_apart_by_their_version(tmp_path: Path) -> None:
    put(tmp_path, "onnx/encoder.onnx", "onnx/decoder.onnx")
    chosen = planned(tmp_path, SAM_CHOICE="ONNX")
    before = chosen.model_version
    assert before == planned(tmp_path, SAM_CHOICE="ONNX").model_version
    (tmp_path / "onnx/decoder.onnx").write_bytes(b"other weights")
    assert chosen.model_version != before
    assert chosen.model_version.startswith("ONNX-")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
def test_checking_starts_no_threads() -> None:
    need_files(*PAIR)
    code = (
        "import os, cv2, numpy, sam_backend.engines.choice as engines\n"
        "from sam_backend.settings import Settings\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "engines.check(engines.plan(Settings.from_environment({'SAM_ENGINE': 'onnx'})))\n"
        "assert len(os.listdir('/proc/self/task')) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=300)


def test_the_download_script_knows_the_same_files() -> None:
    script = (Path(__file__).parents[2] / "download_models.sh").read_text()
    for known in weights.PUBLISHED:
        assert f"|{known.size}|{known.sha256}|" in script
        assert f"\n{known.model}|" in script


@pytest.mark.skipif(bool(importlib.util.find_spec("torch")), reason="PyTorch is installed")
def test_pytorch_is_not_needed_to_say_that_it_is_missing(tmp_path: Path) -> None:
    put(tmp_path, "mobile_sam.pt")
    with pytest.raises(SettingsError, match="needs PyTorch"):
        open_engine(planned(tmp_path, SAM_ENGINE="torch"))


def test_openvino_serves_the_pair_when_it_is_asked_for(tmp_path: Path) -> None:
    chosen = planned(tmp_path, SAM_ENGINE="openvino")
    assert (chosen.runtime, names(chosen, tmp_path)) == ("openvino", [*MOBILE])
    assert planned(tmp_path, SAM_ENGINE="openvino", SAM_CHOICE="ONNX").runtime == "openvino"


@pytest.fixture
def linux_x86(machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")


@pytest.fixture
def openvino(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name, whether or not the real one is installed."""
    package = tmp_path_factory.mktemp("packages") / "openvino.py"
    package.write_text("")
    monkeypatch.setitem(sys.modules, "openvino", None)  # so that it is put back, or away
    monkeypatch.delitem(sys.modules, "openvino")
    monkeypatch.syspath_prepend(package.parent)
    return package


@pytest.mark.usefixtures("no_torch", "linux_x86", "openvino")
def test_auto_takes_openvino_on_linux_and_x86(tmp_path: Path) -> None:
    chosen = planned(tmp_path)
    assert (chosen.runtime, names(chosen, tmp_path)) == ("openvino", [*MOBILE])
    assert planned(tmp_path, SAM_ENGINE="onnx").runtime == "onnx"


@pytest.mark.usefixtures("no_torch", "linux_x86", "openvino")
@pytest.mark.parametrize(
    "environ", [{"DEVICE": "cuda"}, {"SAM_CHOICE": "ONNX"}, {"SAM_CHOICE": "SAM-B"}], ids=str
)
def test_auto_keeps_to_onnx_runtime_for_gpus_and_for_other_weights(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    put(tmp_path, "sam_vit_b_01ec64/encoder.onnx", "sam_vit_b_01ec64/decoder.onnx")
    assert planned(tmp_path, **environ).runtime == "onnx"


@pytest.mark.usefixtures("no_torch", "linux_x86", "openvino")
def test_auto_keeps_to_onnx_runtime_that_has_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.31.1")
    assert planned(tmp_path).runtime == "onnx"


@pytest.mark.usefixtures("no_torch", "linux_x86")
def test_auto_does_without_an_openvino_that_cannot_be_loaded(
    tmp_path: Path, openvino: Path, caplog: pytest.LogCaptureFixture
) -> None:
    openvino.write_text("raise ImportError('libtbb.so.12: cannot open shared object file')")
    assert planned(tmp_path).runtime == "onnx"
    assert "libtbb.so.12" in caplog.text


@pytest.mark.usefixtures("no_torch", "linux_x86")
def test_auto_does_without_openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert planned(tmp_path).runtime == "onnx"


@pytest.mark.parametrize(
    ("environ", "advice"),
    [
        ({"DEVICE": "cuda"}, "is for CPUs"),
        ({"SAM_CHOICE": "Transformers"}, "cannot serve SAM_CHOICE='Transformers'"),
        ({}, "pip install --no-deps -r requirements-openvino.txt"),
    ],
)
def test_openvino_says_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], advice: str
) -> None:
    put(tmp_path, *MOBILE)
    monkeypatch.setattr(optional_packages, "openvino_installed", lambda: False)
    with pytest.raises(SettingsError, match=advice):
        check(planned(tmp_path, SAM_ENGINE="openvino", **environ))


@pytest.mark.usefixtures("no_torch", "linux_x86", "openvino")
def test_what_is_fastest_is_measured_among_what_may_serve(tmp_path: Path) -> None:
    chosen = planned(tmp_path)
    assert chosen.among == (OPENVINO_F32, OPENVINO_BF16, ONNX_F32)
    assert chosen.records == tmp_path / "cache"
    assert planned(tmp_path, SAM_ENGINE="openvino").among == (OPENVINO_F32, OPENVINO_BF16)
    assert planned(tmp_path, SAM_ENGINE="onnx").among == (ONNX_F32,)


@pytest.mark.usefixtures("no_torch", "linux_x86", "openvino")
def test_a_precision_may_be_asked_for(tmp_path: Path) -> None:
    assert planned(tmp_path, SAM_PRECISION="bf16").among == (OPENVINO_BF16,)
    assert planned(tmp_path, SAM_PRECISION="f32").among == (OPENVINO_F32, ONNX_F32)
    with pytest.raises(SettingsError, match="SAM_PRECISION='bf16' needs OpenVINO"):
        planned(tmp_path, SAM_PRECISION="bf16", SAM_ENGINE="onnx")
