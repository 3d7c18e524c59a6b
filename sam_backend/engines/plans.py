"""Plans the engine: from settings to files and a runtime. Nothing is loaded.

A checkpoint (X.pt, X.pth) and a folder X/ beside it with encoder.onnx and decoder.onnx are the
same model for two runtimes. onnx_converter.py makes the folder from the checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import logging
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from sam_backend.engines import optional_packages
from sam_backend.engines.arithmetic import ONNX_F32, OPENVINO_BF16, OPENVINO_F32, Arithmetic
from sam_backend.engines.weights import published, sha256
from sam_backend.errors import SettingsError
from sam_backend.settings import Settings

logger = logging.getLogger("sam_backend")

_CHECKPOINTS = (".pt", ".pth")
_KEYS = {
    "MobileSAM": "MOBILESAM_CHECKPOINT",
    "SAM-B": "VITB_CHECKPOINT",
    "SAM-L": "VITL_CHECKPOINT",
    "SAM-H": "VITH_CHECKPOINT",
    "ONNX": "ONNX_CHECKPOINT",
    "Transformers": "TRANSFORMERS_MODEL",
}


@dataclass(frozen=True)
class EnginePlan:
    """The engine and the files that will be loaded. `check` tells whether this will work."""

    name: str
    runtime: str  # onnx, openvino, torch or transformers
    files: tuple[Path, ...]  # encoder and decoder, or one checkpoint, or a folder's weights
    device: str = "auto"
    source: str = ""  # a folder, or a name on a hub, for transformers
    among: tuple[Arithmetic, ...] = (ONNX_F32,)  # what a pair may compute in, the surest first
    records: Path | None = None  # the folder that keeps which of them is the fastest

    @property
    def key(self) -> str:
        """The environment variable with the path of the files."""
        return _KEYS[self.name]

    @property
    def model_version(self) -> str:
        """A name that is the same for the same weights. Label Studio groups predictions by it.

        For published weights it is their name. For others, the start of their hash is added.
        """
        name = Path(self.source).name or self.name
        if name != "ONNX" and all(published(path) for path in self.files):
            return name
        digest = hashlib.sha256("".join(map(sha256, self.files)).encode())
        return f"{name}-{digest.hexdigest()[:8]}"


def plan(settings: Settings) -> EnginePlan:
    """The engine for these settings. `auto` means the fastest one whose files exist."""
    model = "SAM-H" if settings.sam_choice == "SAM" else settings.sam_choice
    if model == "ONNX":
        if settings.sam_engine == "torch":
            raise SettingsError("SAM_ENGINE='torch' cannot serve SAM_CHOICE='ONNX'")
        pair = _pair(settings.onnx_checkpoint)
        runtime = "openvino" if settings.sam_engine == "openvino" else "onnx"
        return _planned(model, runtime, pair, settings)
    if model == "Transformers":
        if settings.sam_engine in ("onnx", "openvino"):
            engine = settings.sam_engine
            raise SettingsError(f"SAM_ENGINE={engine!r} cannot serve SAM_CHOICE='Transformers'")
        source = settings.transformers_model
        weights = tuple(sorted(Path(source).expanduser().glob("*.safetensors")))
        return EnginePlan(model, "transformers", weights, settings.device, source)
    path = {
        "MobileSAM": settings.mobilesam_checkpoint,
        "SAM-B": settings.vitb_checkpoint,
        "SAM-L": settings.vitl_checkpoint,
        "SAM-H": settings.vith_checkpoint,
    }[model]
    is_checkpoint = path.suffix in _CHECKPOINTS and not path.is_dir()
    beside = [path.with_name(path.name + suffix) for suffix in _CHECKPOINTS]
    checkpoint = path if is_checkpoint else next(filter(Path.is_file, beside), beside[0])
    pair = _pair(path.with_suffix("") if is_checkpoint else path)
    runtime = settings.sam_engine
    if runtime == "auto":
        runtime = _fastest(checkpoint, pair, settings.device, "torch" if is_checkpoint else "onnx")
        # Its masks were compared with the masks of ONNX Runtime for these weights only.
        if model == "MobileSAM" and runtime == "onnx" and _gains_by_openvino(settings.device):
            runtime = "openvino"
    files = (checkpoint,) if runtime == "torch" else pair
    return _planned(model, runtime, files, settings)


def _planned(model: str, runtime: str, files: tuple[Path, ...], settings: Settings) -> EnginePlan:
    """With the arithmetics that a runtime has, or the one that the settings ask for."""
    among: tuple[Arithmetic, ...] = (ONNX_F32,)
    if runtime == "openvino":
        among = OPENVINO_F32, OPENVINO_BF16, *(among if settings.sam_engine == "auto" else ())
    precision = settings.sam_precision
    if precision != "auto":
        among = tuple(each for each in among if each.precision == precision)
        if not among:
            raise SettingsError(f"SAM_PRECISION={precision!r} needs OpenVINO, see SAM_ENGINE")
    return EnginePlan(
        model, runtime, files, settings.device, among=among, records=settings.cache_dir
    )


def _pair(path: Path) -> tuple[Path, Path]:
    """The encoder and decoder in a folder, or a decoder and the encoder beside it."""
    if path.suffix != ".onnx":
        return path / "encoder.onnx", path / "decoder.onnx"
    twin = path.name.replace("decoder", "encoder")
    return path.with_name("encoder.onnx" if twin == path.name else twin), path


def _fastest(checkpoint: Path, pair: tuple[Path, Path], device: str, otherwise: str) -> str:
    """PyTorch on a GPU, ONNX Runtime on a CPU (three times as fast), whichever has its files."""
    has_pair = all(path.is_file() for path in pair)
    if checkpoint.is_file() and (
        not has_pair or (optional_packages.torch_installed() and _has_gpu(device))
    ):
        return "torch"
    return "onnx" if has_pair else otherwise


def _gains_by_openvino(device: str) -> bool:
    """Whether OpenVINO is installed, and was found to be faster than ONNX Runtime here."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("onnxruntime-gpu")
        return False
    is_known = sys.platform == "linux" and platform.machine() == "x86_64"
    return is_known and device in ("auto", "cpu") and _openvino_works()


def _openvino_works() -> bool:
    try:
        import openvino  # noqa: F401, PLC0415 (optional, and slow to import)
    except ImportError as error:
        if optional_packages.openvino_installed():
            logger.warning("OpenVINO cannot be used (ONNX Runtime is slower here): %s", error)
        return False
    return True


def _has_gpu(device: str) -> bool:
    if device != "auto":
        return device != "cpu"
    # Asking CUDA would initialise it, and then no forked worker could use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch  # noqa: PLC0415

    return bool(torch.cuda.is_available() or torch.backends.mps.is_available())
