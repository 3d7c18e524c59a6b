"""SAM and its kin in PyTorch, without a predictor that remembers the last image."""

from __future__ import annotations

import importlib
import importlib.util
import threading
import warnings
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from sam_backend.engines.frame import Floats, Frame, Halves
from sam_backend.engines.protocol import (
    KINDS,
    Embedding,
    four_of_three,
    halved,
    model_input,
    prompt_points,
    slotted_points,
)
from sam_backend.engines.recognise import convertible, recognise, shapes
from sam_backend.engines.weights import published, sha256
from sam_backend.errors import SettingsError
from sam_backend.formats.pictures import Pixels

# Our name of a model → the package that defines it, and its name in that package.
ARCHITECTURES = {
    "MobileSAM": ("mobile_sam", "vit_t"),
    "SAM-B": ("segment_anything", "vit_b"),
    "SAM-L": ("segment_anything", "vit_l"),
    "SAM-H": ("segment_anything", "vit_h"),
    # These are built from the modules of a package, see own_source.
    "SAM-HQ": ("segment_anything", "vit_b"),
    "Light HQ-SAM": ("mobile_sam", "vit_t"),
    "EfficientSAM": ("segment_anything", "vit_b"),
    "EfficientViT-SAM": ("segment_anything", "vit_b"),
}
PYPI = {"mobile_sam": "mobilesam-mirror", "segment_anything": "segment-anything"}

_BOX_CODES = (2, 3)  # labels of a box's corners among an engine's prompt points

_encoding: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class TorchEngine:
    """A model's modules, called directly. All that depends on an image is in its Embedding."""

    def __init__(self, sam: Any, name: str, device: str = "auto", kind: str = "sam") -> None:
        """`kind` is a key of protocol.KINDS."""
        self.name = name
        self._kind = KINDS[kind]
        self.facts = self._kind.facts
        self.device = torch.device(choose_device(device))
        self.sam = sam.to(self.device)
        self._one_at_a_time = encoding_lock(self.device)

    def encode(self, image: Pixels) -> Embedding:
        pixels = torch.from_numpy(model_input(image, stretched=self._kind.stretches))
        # The packages' `Sam` has an encoder, and our own models have a method.
        encode = getattr(self.sam, "encode", None) or (lambda x: (self.sam.image_encoder(x),))
        with self._one_at_a_time, torch.inference_mode():
            made = [part.float().cpu().numpy() for part in encode(pixels.to(self.device))]
        features, *details = made
        return Embedding(features, image.shape[0], image.shape[1], tuple(map(halved, details)))

    def decode(
        self,
        embedding: Embedding,
        points: Floats,
        labels: Floats,
        box: Floats | None = None,
        mask_input: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        if self._kind.slots:
            return self._decoded_in_slots(embedding, points, labels, box)
        return decoded(self.sam, self.device, embedding, (points, labels, box, mask_input))

    def _decoded_in_slots(
        self, embedding: Embedding, points: Floats, labels: Floats, box: Floats | None
    ) -> tuple[Floats, Floats]:
        square = Frame(embedding.height, embedding.width, stretched=True)
        placed = slotted_points(square, points, labels, box, self._kind.slots)
        with torch.inference_mode():
            inputs = (torch.from_numpy(a).to(self.device) for a in (embedding.features, *placed))
            logits, scores = (part[0].float().cpu().numpy() for part in self.sam.decode(*inputs))
        logits, scores = four_of_three(logits, scores)
        return embedding.frame.from_stretched(logits), scores


class TorchSam(TorchEngine):
    """SAM or MobileSAM from a checkpoint."""

    def __init__(self, checkpoint: Path, model: str, device: str = "auto") -> None:
        super().__init__(load(checkpoint, model), model, device)
        # Names weights and preprocessing. It is part of the key of embeddings on disk.
        self.fingerprint = f"torch-1:{sha256(checkpoint)}"


def decoded(
    sam: Any,
    device: torch.device,
    embedding: Embedding,
    prompt: tuple[Floats, Floats, Floats | None, Floats | None],
) -> tuple[Floats, Floats]:
    """What a model with the modules of SAM answers: see `Engine.decode`."""

    def on_device(array: Floats | Halves) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)

    points, labels, box, mask_input = prompt
    coordinates, codes = prompt_points(embedding.frame, points, labels, box)
    # The prompt encoder takes a box separately from the points, and adds the padding point.
    is_point = np.isin(codes[0], (*_BOX_CODES, -1), invert=True)
    corners = coordinates[:, np.isin(codes[0], _BOX_CODES)]
    with torch.inference_mode():
        sparse, dense = sam.prompt_encoder(
            points=(on_device(coordinates[:, is_point]), on_device(codes[:, is_point]))
            if box is None or is_point.any()
            else None,
            boxes=None if box is None else on_device(corners.reshape(1, 4)),
            masks=None if mask_input is None else on_device(mask_input[None, None]),
        )
        logits, scores = sam.mask_decoder.predict_masks(
            on_device(embedding.features),
            sam.prompt_encoder.get_dense_pe(),
            sparse,
            dense,
            *map(on_device, embedding.details),
        )
        return logits[0].float().cpu().numpy(), scores[0].float().cpu().numpy()


def encoding_lock(device: torch.device) -> threading.Lock:
    """The lock for encodes on a device. The activations of one ViT-H encode can fill its memory."""
    return _encoding[str(device)]


def choose_device(wanted: str) -> str:
    """The device that `DEVICE` means on this machine. SettingsError if it does not exist."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    if (wanted.startswith("cuda") and not cuda) or (wanted == "mps" and not mps):
        raise SettingsError(f"DEVICE={wanted!r}: PyTorch {torch.__version__} finds no such device")
    return wanted


def check_file(checkpoint: Path, model: str) -> None:
    """SettingsError if the checkpoint is missing, damaged or of another model. Loads no weights."""
    package(model)
    if checkpoint.is_file():
        published(checkpoint)
    _expect(model, checkpoint, read(checkpoint, "meta"))


def load(checkpoint: Path, model: str) -> Any:
    """The `Sam` module from its package, on the CPU, ready for inference."""
    weights = read(checkpoint, "cpu")
    _expect(model, checkpoint, weights)
    build = package(model).sam_model_registry[ARCHITECTURES[model][1]]
    # On the meta device, no random weights are drawn only to be overwritten. TinyViT computes
    # tables when it is built, and no checkpoint contains them.
    with torch.device("cpu" if model == "MobileSAM" else "meta"):
        sam = build()
    try:
        sam.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise SettingsError(f"{checkpoint} does not fit {model}: {problem}") from None
    del sam.pixel_mean, sam.pixel_std  # they are not in a checkpoint, and model_input() has them
    return sam.eval().requires_grad_(requires_grad=False)


def _expect(model: str, checkpoint: Path, weights: dict[str, Any]) -> None:
    found = recognise(shapes(weights)) or convertible(weights, checkpoint)
    if found.name != model:
        raise SettingsError(f"{checkpoint} is a checkpoint of {found.name}, not of {model}")


def read(checkpoint: Path, device: str) -> dict[str, Any]:
    """The tensors by name. Pickles can run code, so only tensors are read."""
    try:
        weights = torch.load(checkpoint, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise SettingsError(f"{checkpoint} does not exist: ./download_models.sh --help") from None
    except PermissionError:
        raise
    except Exception:  # noqa: BLE001 (another file's bytes are instructions of any kind to pickle)
        raise SettingsError(f"{checkpoint} is not a readable PyTorch checkpoint") from None
    for wrapper in ("model", "state_dict"):  # training scripts save the optimizer beside the model
        if isinstance(weights, dict) and isinstance(weights.get(wrapper), dict):
            weights = weights[wrapper]
    if not isinstance(weights, dict):
        return {}
    return {name: value for name, value in weights.items() if isinstance(name, str)}


def package(model: str) -> ModuleType:
    """The package of a model. SettingsError if it is not installed."""
    package = ARCHITECTURES[model][0]
    for needed in (package, "torchvision"):
        if importlib.util.find_spec(needed) is None:
            raise SettingsError(
                f"{model} in PyTorch needs the package {PYPI.get(needed, needed)}: "
                "pip install -r requirements-torch.txt"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm warns about its own old names
        import_torchvision()
        return importlib.import_module(package)


def import_torchvision() -> None:
    """Makes `import torchvision` work even if its operators cannot be loaded.

    With a CPU build of PyTorch, a torchvision built for CUDA fails with "operator torchvision::nms
    does not exist". pip easily installs such a pair. The packages here only use torchvision for
    resizing, so declaring the operators is enough.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)  # the declarations live as long as this object
        importlib.import_module("torchvision")


_kept: list[Any] = []
