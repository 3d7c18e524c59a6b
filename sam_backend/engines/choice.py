"""Chooses the engine: `plan` reads the settings, `check` loads nothing yet, `open_engine` does."""

from __future__ import annotations

from sam_backend.engines import fastest, optional_packages
from sam_backend.engines.checks import check
from sam_backend.engines.plans import EnginePlan, plan
from sam_backend.engines.protocol import Engine

__all__ = ["EnginePlan", "check", "open_engine", "plan"]


def open_engine(chosen: EnginePlan, threads: int = 0) -> Engine:
    """Loads the model. Call it in the process that uses the model.

    `threads` is the number of threads of ONNX Runtime for one image. 0: the number of cores.
    """
    if chosen.runtime == "torch":
        optional_packages.need_torch(chosen.key, chosen.files[0])
        from sam_backend.engines.torch_engine import TorchSam  # noqa: PLC0415

        return TorchSam(chosen.files[0], chosen.name, chosen.device)
    if chosen.runtime == "transformers":
        optional_packages.need_transformers()
        from sam_backend.engines.transformers_engine import open_transformers  # noqa: PLC0415

        return open_transformers(chosen.source, chosen.device)
    from sam_backend.engines.onnx_engine import OnnxSam  # noqa: PLC0415

    encoder, decoder = chosen.files
    found = fastest.choose((encoder, decoder), chosen.among, chosen.records)
    return OnnxSam(
        encoder,
        decoder,
        chosen.name,
        chosen.device,
        threads=threads,
        encode_in=found.encode,
        decode_in=found.decode,
    )
