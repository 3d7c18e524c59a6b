"""SAM-HQ and Light HQ-SAM without PyTorch, with random weights: the decoder has its real size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from sam_backend.engines.choice import EnginePlan, check, open_engine
from sam_backend.engines.click_decoder import ClickDecoder
from sam_backend.engines.frame import Frame
from sam_backend.engines.onnx_engine import OnnxSam
from sam_backend.engines.parity import prompts, scene
from sam_backend.engines.protocol import SAM_HQ, model_input
from sam_backend.errors import SettingsError
from tests.engines import served_pair
from tests.engines.exported import prompt_inputs, session
from tests.engines.transformers_models import small_model
from tests.needs import CHECKPOINT, PAIR, need, need_files

KINDS = ("vit", "tiny_vit", "transformers")
SIDE = 1024


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    need("torch", "transformers", "mobile_sam", "segment_anything")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def random_weights(kind: str) -> dict[str, Any]:
    """A checkpoint in its makers' names."""
    import torch  # noqa: PLC0415

    from sam_backend.engines import hq_model, torch_engine  # noqa: PLC0415

    torch.manual_seed(2)
    torch_engine.import_torchvision()
    if kind == "tiny_vit":
        from mobile_sam import sam_model_registry  # noqa: PLC0415

        sam, width = sam_model_registry["vit_t"](), 160
    else:
        from segment_anything.build_sam import _build_sam  # noqa: PLC0415

        sam, width = _build_sam(32, 3, 2, [1, 2]), 32
    decoder = hq_model.HqDecoder(256, width, 2048, 8, 256)
    weights: dict[str, Any] = sam.state_dict()
    weights |= {f"mask_decoder.{name}": value for name, value in decoder.state_dict().items()}
    for name, value in weights.items():
        if "mask_decoder" in name or "rel_pos" in name:  # so that logits reach the tens
            value.normal_(0, 0.1 if value.ndim > 1 else 0.3)
    return weights


@pytest.fixture(scope="module", params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint or a folder, and beside it the pair that the command made of it."""
    need("torch", "transformers", "mobile_sam", "segment_anything")
    import torch  # noqa: PLC0415

    from sam_backend.engines.convert import main  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if request.param == "transformers":
            model = small_model("sam_hq").requires_grad_(False)
            for name, weight in model.named_parameters():
                if "mask_decoder" in name:
                    weight.normal_(0, 0.3)
            model.save_pretrained(path := folder / "small-hq")
        else:
            path = folder / f"sam_hq_{request.param}.pth"
            torch.save(random_weights(request.param), path)
        main([str(path), "--output", str(folder / "pair")])
    return path


@pytest.fixture(scope="module")
def pair(source: Path) -> tuple[Path, Path]:
    return source.parent / "pair/encoder.onnx", source.parent / "pair/decoder.onnx"


def original(source: Path) -> Any:
    """The model in PyTorch."""
    from sam_backend.engines import own_source  # noqa: PLC0415

    return own_source.read(source, "SAM-HQ")[0]


def test_the_pair_says_what_the_original_says(source: Path, pair: tuple[Path, Path]) -> None:
    """In full precision, for all kinds of prompt, with and without an earlier mask."""
    import torch  # noqa: PLC0415

    from sam_backend.engines.torch_engine import decoded  # noqa: PLC0415

    engine = original(source)
    pixels = model_input(scene(SIDE, SIDE))
    features, finer = session(pair[0]).run(None, {"image": pixels})
    with torch.inference_mode():
        made = [part.numpy() for part in engine.sam.encode(torch.from_numpy(pixels))]
    np.testing.assert_allclose(features, made[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(finer, made[1], rtol=0, atol=1e-3 * np.abs(made[1]).max())
    embedding = engine.encode(scene(SIDE, SIDE))
    embedding = type(embedding)(made[0], SIDE, SIDE, (made[1],))  # its details are not halved
    decoder = session(pair[1])
    every = prompts(SIDE, SIDE)
    mask = every["a point and a mask"][3]
    every |= {f"{kind}, and a mask": (*prompt[:3], mask) for kind, prompt in every.items()}
    for kind, prompt in every.items():
        inputs = prompt_inputs(Frame(SIDE, SIDE), *prompt)
        made_of_image = {"image_embeddings": made[0], "finer_features": made[1]}
        logits, scores = decoder.run(None, made_of_image | inputs)
        wanted, wanted_scores = decoded(engine.sam, torch.device("cpu"), embedding, prompt)
        assert np.abs(wanted).max() > 1, kind  # so that 1e-4 means something
        np.testing.assert_allclose(logits[0], wanted, rtol=0, atol=1e-4, err_msg=kind)
        np.testing.assert_allclose(scores[0], wanted_scores, rtol=0, atol=1e-4, err_msg=kind)


def test_a_pair_of_another_program_is_decoded_as_it_was_exported(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Without its facts, nothing says what the finer features mean."""
    model = onnx.load(pair[1])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "decoder.onnx")
    engine = OnnxSam(pair[0], tmp_path / "decoder.onnx", "ONNX", "cpu")
    embedding = engine.encode(scene(SIDE, SIDE))
    logits, scores = engine.decode(embedding, *prompts(SIDE, SIDE)["a point"])
    assert (logits.shape, scores.shape) == ((4, 256, 256), (4,))


@pytest.mark.parametrize("size", [(700, 700), (300, 500)])
def test_the_engine_answers_as_the_one_in_pytorch_does(
    source: Path, pair: tuple[Path, Path], size: tuple[int, int]
) -> None:
    in_torch, in_onnx = original(source), OnnxSam(*pair, "ONNX", "cpu")
    assert in_torch.facts == in_onnx.facts == SAM_HQ
    image = scene(*size)
    embedding, wanted_embedding = in_onnx.encode(image), in_torch.encode(image)
    assert [d.shape[2:] for d in embedding.details] == [(256, 256)]
    if size[0] == size[1]:  # the encoder of Light HQ-SAM leaves the padding of others out
        for kind, prompt in prompts(*size).items():
            logits, scores = in_onnx.decode(embedding, *prompt)
            wanted, wanted_scores = in_torch.decode(wanted_embedding, *prompt)
            np.testing.assert_allclose(logits, wanted, rtol=0, atol=0.05, err_msg=kind)
            np.testing.assert_allclose(scores, wanted_scores, rtol=0, atol=1e-3, err_msg=kind)
    rows, columns = (4 * side for side in Frame(*size).tokens)
    finer, wanted_finer = embedding.details[0], wanted_embedding.details[0]
    apart = np.abs(finer - wanted_finer)[..., : rows - 16, : columns - 16].astype(np.float32)
    assert np.percentile(apart, 99) < 0.05 * np.abs(wanted_finer).max()


def test_the_decoder_for_clicks_gives_the_masks_of_the_exported_one(
    source: Path, pair: tuple[Path, Path]
) -> None:
    """Exactly for a square. For others, a few tokens stand for the padding."""
    if source.is_dir():
        pytest.skip("its decoder is smaller than the one that is rebuilt")
    fast = OnnxSam(*pair, "ONNX", "cpu")
    exported = OnnxSam(*pair, "ONNX", "cpu", as_exported=True)
    assert isinstance(fast._decoder, ClickDecoder)
    for size, least in (((700, 700), 1.0), ((300, 500), 0.99)):
        embedding, used = fast.encode(scene(*size)), Frame(*size).used
        for kind, prompt in prompts(*size).items():
            logits, scores = fast.decode(embedding, *prompt)
            wanted, wanted_scores = exported.decode(embedding, *prompt)
            logits, wanted = (found[:, : used[0], : used[1]] for found in (logits, wanted))
            alike = ((logits > 0) == (wanted > 0)).mean()
            assert alike >= least - 1e-5, (kind, size, alike)
            if least == 1:
                np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-3, err_msg=kind)
                np.testing.assert_allclose(scores, wanted_scores, rtol=0, atol=1e-4)


def test_the_finer_mask_is_the_product_of_its_token_and_all_finer_features() -> None:
    """As it is defined, without the order of operations that saves half of them."""
    import torch  # noqa: PLC0415

    from sam_backend.engines import hq_model  # noqa: PLC0415

    decoder = hq_model.HqDecoder(32, 16, 32, 2, 32).requires_grad_(False)
    kernel, image = torch.randn(1, 4), torch.randn(1, 4, 256, 256)
    finer = torch.randn(1, 4, 256, 256)
    features = decoder.embedding_maskfeature(image) + finer
    wanted = (kernel @ features.flatten(2)).view(1, 1, 256, 256)
    found = decoder._finer_mask(kernel, image, finer)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_a_model_of_transformers_has_the_features_of_transformers(tmp_path: Path) -> None:
    """All its weights come to their places, and the encoder gives the same."""
    import torch  # noqa: PLC0415

    model = small_model("sam_hq").requires_grad_(False)
    model.save_pretrained(tmp_path / "hq")
    chosen = EnginePlan("Transformers", "transformers", (), "cpu", str(tmp_path / "hq"))
    check(chosen)
    engine: Any = open_engine(chosen)
    pixels = torch.from_numpy(model_input(scene(SIDE, SIDE)))
    with torch.inference_mode():
        features, early = model.get_image_embeddings(pixels)
        made, finer = engine.sam.encode(pixels)
        wanted = engine.sam.mask_decoder.finer_features(features, early[0])
    torch.testing.assert_close(made, features, rtol=0, atol=1e-5)
    torch.testing.assert_close(finer, wanted, rtol=0, atol=1e-5)
    assert engine.facts == SAM_HQ


def test_a_light_one_encodes_as_mobile_sam_does_and_leaves_the_padding_out(tmp_path: Path) -> None:
    """With the real weights of MobileSAM, which it was made from."""

    from sam_backend.engines import hq_model, onnx_export  # noqa: PLC0415
    from sam_backend.engines.sam_export import hq_exportable  # noqa: PLC0415
    from sam_backend.engines.torch_engine import read  # noqa: PLC0415

    need_files(CHECKPOINT, *PAIR)
    model = hq_model.load(random_weights("tiny_vit") | read(CHECKPOINT, "cpu"))
    onnx_export.write(hq_exportable(model), tmp_path, {})
    light = OnnxSam(tmp_path / "encoder.onnx", tmp_path / "decoder.onnx", "ONNX", "cpu")
    image = scene(300, 500)
    embedding, wanted = light.encode(image), OnnxSam(*PAIR, "ONNX", "cpu").encode(image)
    np.testing.assert_allclose(embedding.features, wanted.features, rtol=0, atol=1e-3)
    assert light._trimmed is not None
    assert np.isfinite(embedding.details[0]).all()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    from sam_backend.engines.convert import main  # noqa: PLC0415

    weights = random_weights("vit")
    del weights["mask_decoder.hf_mlp.layers.1.weight"]
    torch.save(weights, tmp_path / "sam_hq.pth")
    with pytest.raises(SystemExit, match=r"do not fit SAM-HQ: .*hf_mlp\.layers\.1\.weight"):
        main([str(tmp_path / "sam_hq.pth")])


def test_a_pair_of_a_newer_version_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    import onnx  # noqa: PLC0415

    model = onnx.load(pair[1])
    onnx.helper.set_model_props(model, {"prepared_as": "sam9"})
    onnx.save(model, tmp_path / "decoder.onnx")
    with pytest.raises(SettingsError, match="was converted by a newer version"):
        OnnxSam(pair[0], tmp_path / "decoder.onnx", "ONNX", "cpu")


def test_the_server_answers_clicks_with_the_pair(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert len(served_pair.regions(pair[0].parent, tmp_path)) == 2
