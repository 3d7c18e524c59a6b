"""EfficientViT-SAM without PyTorch, with random weights: narrow, with all kinds of block."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_backend.engines.click_decoder import ClickDecoder
from sam_backend.engines.frame import Frame
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import prompts, scene
from sam_backend.engines.protocol import SAM, model_input
from tests.engines.exported import prompt_inputs, session
from tests.needs import need

SIDE = 1024
WIDTHS = (8, 16, 24, 32, 64)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    need("torch", "segment_anything")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Weights:
    """A checkpoint in its makers' names, layer by layer."""

    def __init__(self) -> None:
        import torch  # noqa: PLC0415

        self.torch, self.made = torch, dict[str, Any]()

    def layer(
        self, path: str, inner: int, out: int, side: int = 1, *, bias: bool = False
    ) -> Weights:
        """A convolution, with a bias or with a norm."""
        self.made[f"{path}.conv.weight"] = self.torch.randn(out, inner, side, side) / inner**0.5
        if bias:
            self.made[f"{path}.conv.bias"] = self.torch.randn(out)
            return self
        for name in ("weight", "running_var"):
            self.made[f"{path}.norm.{name}"] = self.torch.rand(out) + 0.5
        for name in ("bias", "running_mean"):
            self.made[f"{path}.norm.{name}"] = self.torch.randn(out) * 0.1
        self.made[f"{path}.norm.num_batches_tracked"] = self.torch.tensor(1)
        return self

    def fused(self, path: str, inner: int, out: int) -> None:
        self.layer(f"{path}.spatial_conv", inner, 16, 3).layer(f"{path}.point_conv", 16, out)

    def inverted(self, path: str, inner: int, out: int) -> None:
        self.layer(f"{path}.inverted_conv", inner, 16, bias=True)
        self.layer(f"{path}.depth_conv", 1, 16, 3, bias=True)
        self.layer(f"{path}.point_conv", 16, out)

    def attention(self, path: str, width: int) -> None:
        heads = width // 32
        qkv, main = 3 * width, f"{path}.context_module.main"
        self.layer(f"{main}.qkv", width, qkv)
        for name in [name for name in self.made if name.startswith(f"{main}.qkv.norm")]:
            del self.made[name]
        self.made[f"{main}.aggreg.0.0.weight"] = self.torch.randn(qkv, 1, 5, 5) / 5
        self.made[f"{main}.aggreg.0.1.weight"] = self.torch.randn(qkv, qkv // (3 * heads), 1, 1) / 6
        self.layer(f"{main}.proj", 2 * width, width)
        self.inverted(f"{path}.local_module.main", width, width)


def random_weights(stages: int = 5) -> dict[str, Any]:
    """With five stages, the encoder takes the half of SAM's square."""
    import torch  # noqa: PLC0415

    from sam_backend.engines import torch_engine  # noqa: PLC0415

    torch.manual_seed(5)
    torch_engine.import_torchvision()
    from segment_anything.build_sam import _build_sam  # noqa: PLC0415

    some = Weights()
    start = "image_encoder.backbone.stages"
    some.layer(f"{start}.0.op_list.0", 3, WIDTHS[0], 3)
    some.layer(f"{start}.0.op_list.1.main.conv1", 8, 8, 3)
    some.layer(f"{start}.0.op_list.1.main.conv2", 8, 8, 3)
    widths = [*WIDTHS[: stages - 1], WIDTHS[-1]] if stages <= 5 else [8, *WIDTHS]
    for number in range(1, stages):
        inner, out = widths[number - 1], widths[number]
        add = some.inverted if number >= stages - 2 else some.fused
        add(f"{start}.{number}.op_list.0.main", inner, out)
        if number < stages - 1:
            add(f"{start}.{number}.op_list.1.main", out, out)
    some.attention(f"{start}.{stages - 1}.op_list.1", widths[-1])
    neck = "image_encoder.neck"
    for number, width in enumerate(widths[-1:-4:-1]):
        some.layer(f"{neck}.input_ops.{number}.op_list.0", width, 16)
    some.fused(f"{neck}.middle.op_list.0.main", 16, 16)
    some.layer(f"{neck}.output_ops.0.op_list.0", 16, 256, bias=True)
    some.made["image_encoder.norm.weight"] = torch.ones(256)
    some.made["image_encoder.norm.bias"] = torch.zeros(256)
    for name, value in _build_sam(32, 1, 2, [0]).state_dict().items():
        if not name.startswith("image_encoder."):
            some.made[name] = value
            if "mask_decoder" in name:  # so that logits exceed 1
                value.normal_(0, 0.1 if value.ndim > 1 else 0.3)
    return some.made


@pytest.fixture(scope="module", params=[5, 6])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and beside it the pair that the command made of it."""
    need("torch", "segment_anything")
    import torch  # noqa: PLC0415

    from sam_backend.engines.convert import main  # noqa: PLC0415

    path = tmp_path_factory.mktemp("models") / "efficientvit_sam.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"state_dict": random_weights(request.param)}, path)
        main([str(path), "--output", str(path.parent / "pair")])
    return path


@pytest.fixture(scope="module")
def pair(checkpoint: Path) -> tuple[Path, Path]:
    return checkpoint.parent / "pair/encoder.onnx", checkpoint.parent / "pair/decoder.onnx"


def original(checkpoint: Path) -> Any:
    """The engine in PyTorch."""
    from sam_backend.engines import sources  # noqa: PLC0415

    return sources.read(checkpoint, None).engine


def test_the_pair_says_what_the_original_says(checkpoint: Path, pair: tuple[Path, Path]) -> None:
    """In full precision, for all kinds of prompt, with and without an earlier mask."""
    engine = original(checkpoint)
    embedding = engine.encode(scene(SIDE, SIDE))
    encoder, decoder = map(session, pair)
    (features,) = encoder.run(None, {"image": model_input(scene(SIDE, SIDE))})
    largest = np.abs(embedding.features).max()
    np.testing.assert_allclose(features, embedding.features, rtol=0, atol=1e-3 * largest)
    every = prompts(SIDE, SIDE)
    mask = every["a point and a mask"][3]
    every |= {f"{kind}, and a mask": (*prompt[:3], mask) for kind, prompt in every.items()}
    for kind, prompt in every.items():
        inputs = prompt_inputs(Frame(SIDE, SIDE), *prompt)
        logits, scores = decoder.run(None, {"image_embeddings": embedding.features, **inputs})
        wanted, wanted_scores = engine.decode(embedding, *prompt)
        assert np.abs(wanted).max() > 1, kind  # so that 1e-4 means something
        np.testing.assert_allclose(logits[0], wanted, rtol=0, atol=1e-4, err_msg=kind)
        np.testing.assert_allclose(scores[0], wanted_scores, rtol=0, atol=1e-4, err_msg=kind)


def test_it_is_served_as_sam_is(checkpoint: Path, pair: tuple[Path, Path]) -> None:
    """With the decoder that is rebuilt for clicks."""
    engine, image = OnnxSam(*pair, "ONNX", "cpu"), scene(700, 700)
    assert isinstance(engine._decoder, ClickDecoder)
    assert engine.facts == SAM
    in_torch = original(checkpoint)
    embedding, wanted_embedding = engine.encode(image), in_torch.encode(image)
    for kind, prompt in prompts(700, 700).items():
        logits, scores = engine.decode(embedding, *prompt)
        wanted, wanted_scores = in_torch.decode(wanted_embedding, *prompt)
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=0.05, err_msg=kind)
        np.testing.assert_allclose(scores, wanted_scores, rtol=0, atol=0.01, err_msg=kind)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    from sam_backend.engines.convert import main  # noqa: PLC0415

    weights = random_weights()
    del weights["image_encoder.norm.bias"]
    torch.save(weights, tmp_path / "x.pt")
    with pytest.raises(
        SystemExit, match=r"do not fit EfficientViT-SAM: .*image_encoder\.norm\.bias"
    ):
        main([str(tmp_path / "x.pt")])
