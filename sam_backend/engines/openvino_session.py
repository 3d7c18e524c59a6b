"""Models on OpenVINO, in f32 or in bf16."""

from __future__ import annotations

import contextlib
import mmap
import os
import queue
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import openvino as ov

from sam_backend import memory
from sam_backend.cores import cores
from sam_backend.engines.mapped_weights import mapped
from sam_backend.engines.trimmed_encoder import Array, Named

# A model that is not used for so long gives back the memory that it works in. The next image then
# takes a tenth longer, and the next click some milliseconds.
_IDLE_S = 60.0

# A model prepares its operations for each number of points and each shape of a picture, and keeps
# the last ones of each kind. By default these are 5000, which take hundreds of megabytes. So few
# are enough for 1 to 6 points in pictures of nine shapes: no click is measurably slower.
OPERATIONS = {"CPU_RUNTIME_CACHE_CAPACITY": 64}
# oneDNN, which computes for OpenVINO, keeps the last ones of all models, so that models share them.
# By default these are 1024. It reads this at its first use.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")


class OpenVinoSession:
    """An ONNX model with the part of ONNX Runtime's session interface that is needed here.

    Many threads may call it at once: each call has its own request.
    """

    def __init__(
        self,
        model: Path | onnx.ModelProto,
        precision: str = "f32",
        threads: int = 0,
        cores_a_run: int | None = None,
    ) -> None:
        """`threads` for all runs (0: the number of cores), and the number of threads for one run.

        Small operations gain little from many cores. Parallel runs gain more.
        """
        threads = threads or cores()
        core = ov.Core()
        # This loads the plugin. Without it, a property is accepted now and may fail later.
        core.get_property("CPU", "FULL_DEVICE_NAME")
        with contextlib.suppress(RuntimeError):  # OpenVINO does not document it
            core.set_property("CPU", OPERATIONS)
        if isinstance(model, Path):
            read = core.read_model(model)
        else:
            read = core.read_model(model.SerializeToString(), b"")
        self._weights = mapped(read)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": max(1, threads // cores_a_run) if cores_a_run else 1,
            # By default, two workers may choose the same cores while other cores are idle.
            "ENABLE_CPU_PINNING": False,
        }
        self._model = core.compile_model(read, "CPU", options)
        self._forget_weights()
        self._idle: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        self._rests = memory.WhenIdle(self.release_memory, _IDLE_S)

    @property
    def precision(self) -> str:
        """The precision of the arithmetic: f32, or bf16 if the CPU can compute in it."""
        return str(self._model.get_property("INFERENCE_PRECISION_HINT").to_string())

    def get_inputs(self) -> Sequence[Named]:
        return [Named(port.get_any_name()) for port in self._model.inputs]

    def get_outputs(self) -> Sequence[Named]:
        return [Named(port.get_any_name()) for port in self._model.outputs]

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Array]) -> list[Array]:
        """The outputs of these names, or all of them."""
        wanted = outputs or [output.name for output in self.get_outputs()]
        is_new = False
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            is_new = True
            request = self._model.create_infer_request()
        try:
            found = request.infer(inputs, share_inputs=True)
            return [found[name] for name in wanted]
        finally:
            self._idle.put(request)
            if is_new:  # its first run prepares the weights
                self._forget_weights()
            self._rests.used()

    def release_memory(self) -> None:
        """Frees what runs work in, which can be a hundred megabytes. The next run allocates it."""
        with contextlib.suppress(RuntimeError):  # a run has just begun
            self._model.release_memory()
        self._forget_weights()

    def _forget_weights(self) -> None:
        """Lets the weights in the file leave memory, until something reads them again."""
        if self._weights is not None:
            self._weights.madvise(mmap.MADV_DONTNEED)
