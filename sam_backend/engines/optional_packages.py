"""The optional packages of the engines: which are there, and how to install the others."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from sam_backend.errors import SettingsError
from sam_backend.installation import INSTALL_OPENVINO, pip_install


def torch_installed() -> bool:
    return importlib.util.find_spec("torch") is not None


def openvino_installed() -> bool:
    return importlib.util.find_spec("openvino") is not None


def need_torch(key: str, checkpoint: Path) -> None:
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if not torch_installed():
        raise SettingsError(f"{key}: {checkpoint} needs PyTorch: {pip_install('torch')}")


def need_openvino(device: str) -> None:
    if device not in ("auto", "cpu"):
        raise SettingsError(f"SAM_ENGINE='openvino' is for CPUs only, but DEVICE={device!r}")
    if not openvino_installed():
        raise SettingsError(f"SAM_ENGINE='openvino' needs OpenVINO: {INSTALL_OPENVINO}")


def need_transformers() -> None:
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if not torch_installed() or not importlib.util.find_spec("transformers"):
        raise SettingsError(
            f"SAM_CHOICE='Transformers' needs transformers and PyTorch: "
            f"{pip_install('transformers')}"
        )


def need_onnx_device(device: str) -> None:
    """SettingsError if this build of ONNX Runtime has no such device.

    It is not imported, because the server forks later. Each of its devices is a file of its own.
    """
    found = importlib.util.find_spec("onnxruntime")
    if device.startswith(("cuda", "mps")) and found is not None:
        folders = map(Path, found.submodule_search_locations or ())
        if device == "mps" or not any(any(f.glob("capi/*_providers_cuda*")) for f in folders):
            raise SettingsError(
                f"DEVICE={device!r}: this ONNX Runtime has no such device "
                "(for NVIDIA: pip uninstall -y onnxruntime && pip install onnxruntime-gpu)"
            )
