"""Opens an ONNX model on ONNX Runtime or on OpenVINO."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnxruntime as ort

from sam_backend.cores import cores
from sam_backend.engines.arithmetic import Arithmetic
from sam_backend.engines.trimmed_encoder import Session


def open_session(
    model: Path | onnx.ModelProto,
    arithmetic: Arithmetic,
    device: str = "cpu",
    threads: int = 0,  # for one run. 0: the number of cores
    cores_a_run: int | None = None,  # threads for one run of small operations on OpenVINO
) -> Session:
    """A session that computes in an arithmetic. Only ONNX Runtime has devices beside the CPU."""
    if arithmetic.runtime == "openvino":
        from sam_backend.engines.openvino_session import OpenVinoSession  # noqa: PLC0415 (optional)

        return OpenVinoSession(model, arithmetic.precision, threads, cores_a_run)
    session: Session = open_onnx(model, device, threads)
    return session


def open_onnx(
    model: Path | onnx.ModelProto, device: str = "cpu", threads: int = 0
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    may_use = cores()
    # By default it takes one thread for each physical core of the machine.
    options.intra_op_num_threads = threads or (may_use if may_use < (os.cpu_count() or 1) else 0)
    options.log_severity_level = 3  # exported graphs warn about their own constants
    # Threads spin only for the usual gap between operations. Longer spinning would keep the cores
    # from the clicks of other annotators, and from a Label Studio on the same machine.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if device != "cpu":
        ort.preload_dlls()  # finds the CUDA libraries of PyTorch
        number = device.partition(":")[2] or "0"
        # By default its memory doubles whenever it grows, and never shrinks.
        memory = {"device_id": number, "arena_extend_strategy": "kSameAsRequested"}
        providers.insert(0, ("CUDAExecutionProvider", memory))
    # By its path if possible, because large models (ViT-H) keep weights in a file beside it.
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=providers)
