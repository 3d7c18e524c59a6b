"""Checks, before anything is loaded, that a plan can work."""

from __future__ import annotations

import importlib.util

from sam_backend.engines import optional_packages
from sam_backend.engines.plans import EnginePlan
from sam_backend.engines.weights import published
from sam_backend.errors import SettingsError
from sam_backend.installation import DOWNLOAD

_DOWNLOADS = {"SAM-B": "sam_vit_b", "SAM-L": "sam_vit_l", "SAM-H": "sam_vit_h"}


def check(chosen: EnginePlan) -> None:
    """SettingsError if the plan cannot work. Loads no model and starts no thread.

    It runs before the server forks its workers, and no runtime survives a fork.
    """
    if chosen.runtime == "transformers":
        optional_packages.need_transformers()
        from sam_backend.engines import transformers_engine  # noqa: PLC0415

        transformers_engine.check_source(chosen.source)
        return
    if chosen.runtime == "torch":
        optional_packages.need_torch(chosen.key, chosen.files[0])
    for path in chosen.files:
        if not path.is_file():
            if path.parent.is_file():
                raise SettingsError(
                    f"{chosen.key}: {path.parent} is neither a folder with encoder.onnx and "
                    "decoder.onnx nor a .pt, .pth or .onnx file"
                )
            raise SettingsError(f"{chosen.key}: {path} does not exist{_way_out(chosen)}")
        published(path)
    if chosen.runtime == "torch":
        from sam_backend.engines import torch_engine  # noqa: PLC0415 (PyTorch is optional, and slow to import)

        torch_engine.check_file(chosen.files[0], chosen.name)
        torch_engine.choose_device(chosen.device)
    else:
        if chosen.runtime == "openvino":
            optional_packages.need_openvino(chosen.device)
        else:
            optional_packages.need_onnx_device(chosen.device)
        if not importlib.util.find_spec("onnxruntime"):
            raise SettingsError("ONNX Runtime is not installed: pip install -r requirements.txt")
        from sam_backend.engines.graph import reader  # noqa: PLC0415 (its package is not needed by PyTorch)

        encoder, decoder = chosen.files
        reader.read_encoder(encoder)
        reader.read_decoder(decoder)


def _way_out(chosen: EnginePlan) -> str:
    if chosen.name == "MobileSAM":
        name = "mobile_sam_pt" if chosen.runtime == "torch" else "mobile_sam"
        return f": {DOWNLOAD} --model {name} fetches it"
    if chosen.runtime == "torch":
        return f": {DOWNLOAD} --model {_DOWNLOADS[chosen.name]} fetches it"
    return ": onnx_converter.py makes an encoder and a decoder from a checkpoint"
