"""The engine from Python: what a program gives, and what it gets."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import sam_backend
from sam_backend import Segmenter
from sam_backend.engines.protocol import Engine
from sam_backend.engines.text_protocol import Finding
from sam_backend.errors import Refusal, SettingsError
from sam_backend.exports import coco_rle
from sam_backend.formats import rle
from sam_backend.formats.pictures import Pixels
from sam_backend.programs.image import EmbeddedImage
from sam_backend.shared.text_search import TextSearch
from tests.e2e.pictures import HEIGHT, WIDTH, Shape, draw, iou
from tests.fakes import DiscEngine
from tests.needs import WEIGHTS, need_weights

DISC, PLATE = Shape.DISC.mask(), Shape.PLATE.mask()


def place(shape: Shape) -> tuple[float, float]:
    x, y = shape.centre
    return x * WIDTH, y * HEIGHT


@pytest.fixture(scope="module")
def segmenter(engine: Engine) -> Segmenter:
    return Segmenter(engine=engine)


@pytest.fixture(scope="module")
def image(segmenter: Segmenter) -> EmbeddedImage:
    return segmenter.embed(draw(list(Shape)))


def test_a_point_on_an_object_is_its_mask(image: EmbeddedImage) -> None:
    mask = image.segment(points=[place(Shape.DISC)])
    assert iou(mask.array, DISC) > 0.95
    assert 0.5 < mask.score <= 1
    assert mask.area == mask.array.sum()
    left, top, right, bottom = mask.box or (0, 0, 0, 0)
    assert mask.array[top:bottom, left:right].sum() == mask.area


def test_a_box_is_its_object(image: EmbeddedImage) -> None:
    left, top, right, bottom = Shape.PLATE.box
    box = (left * WIDTH, top * HEIGHT, right * WIDTH, bottom * HEIGHT)
    mask = image.segment(box=box)
    assert iou(mask.array, PLATE) > 0.95
    assert mask.alternatives == ()


def test_points_refine_a_mask(image: EmbeddedImage) -> None:
    first = image.segment(points=[place(Shape.DISC)])
    added = image.segment(points=[place(Shape.PLATE)], labels=[1], refine=first)
    at_once = image.segment(points=[place(Shape.DISC), place(Shape.PLATE)])
    repeated = image.segment(points=[place(Shape.DISC), place(Shape.PLATE)], refine=first)
    assert np.array_equal(added.array, at_once.array)
    assert np.array_equal(added.array, repeated.array)
    x, y = map(int, place(Shape.PLATE))
    assert added.array[y, x]
    assert not image.segment(points=[place(Shape.PLATE)], labels=[0], refine=added).array[y, x]


def test_a_mask_of_ones_own_can_be_refined(image: EmbeddedImage) -> None:
    """Such as one that was drawn by hand, and is too small."""
    rough = DISC & (np.indices(DISC.shape)[1] < place(Shape.DISC)[0])
    x, y = place(Shape.DISC)
    mask = image.segment([(x + 40, y)], refine=rough)
    assert iou(mask.array, DISC) > 0.9 > iou(rough, DISC)


def test_alternatives_are_other_masks_and_can_be_refined(image: EmbeddedImage) -> None:
    mask = image.segment(points=[place(Shape.RING)])
    for other in mask.alternatives:
        x, y = map(int, place(Shape.RING))
        assert other.array[y, x]
        assert iou(other.array, mask.array) < 0.9
        refined = image.segment(points=[place(Shape.RING)], refine=other)
        assert np.array_equal(refined.array, other.array) or iou(refined.array, other.array) > 0.8


def test_a_mask_in_each_form(image: EmbeddedImage) -> None:
    mask = image.segment(points=[place(Shape.DISC)])
    assert np.array_equal(coco_rle.decode(mask.rle()), mask.array)
    assert np.array_equal(rle.decode(mask.rle("label_studio"), HEIGHT, WIDTH), mask.array)
    grey = np.asarray(Image.open(io.BytesIO(mask.png)))
    assert np.array_equal(grey, mask.array * np.uint8(255))
    alpha = np.asarray(Image.open(io.BytesIO(mask.bitmask_png)).convert("RGBA"))[..., 3]
    assert np.array_equal(alpha > 0, mask.array)
    exact, rough = mask.polygons(0)[0], mask.polygons(tolerance=5)[0]
    assert exact.shape[1] == 2
    assert len(rough) < len(exact)
    assert abs(exact.max(axis=0) - np.array(mask.box)[2:]).max() <= 1
    assert mask.coco()["bbox"][2] == np.array(mask.box)[2] - np.array(mask.box)[0]
    with pytest.raises(ValueError, match="'coco' or 'label_studio', not 'yolo'"):
        mask.rle("yolo")  # type: ignore[call-overload]
    for tolerance in (-1, float("nan")):
        with pytest.raises(ValueError, match="is not a number from 0 on"):
            mask.polygons(tolerance)


def test_everything_finds_each_object(image: EmbeddedImage) -> None:
    masks = list(image.everything(grid=8))
    for shape in (Shape.DISC, Shape.PLATE, Shape.BAR):
        assert max(iou(mask.array, shape.mask()) for mask in masks) > 0.9, shape
    assert len(list(image.everything(grid=8, most=2))) == 2
    with pytest.raises(ValueError, match="level 'half' is not one of all, whole, part, subpart"):
        next(image.everything(level="half"))  # type: ignore[arg-type]
    refined = image.segment([place(Shape.DISC)], refine=masks[0])
    x, y = map(int, place(Shape.DISC))
    assert refined.array[y, x]


def test_an_image_is_a_path_bytes_an_array_or_a_pil_image(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    picture, path = draw(list(Shape)), tmp_path / "shapes.png"
    picture.save(path)
    masks = [
        segmenter.embed(source).segment([place(Shape.DISC)]).array
        for source in (str(path), path.read_bytes(), picture, np.asarray(picture))
    ]
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
    assert segmenter.embed(path).name == "shapes.png"


def test_files_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    image = Segmenter(engine=DiscEngine()).embed(tmp_path / "a.jpg")
    assert (image.width, image.height) == (30, 40)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3)), "dtype uint8, not float64"),
        (np.zeros((4, 4, 2), np.uint8), r"\(H, W, 3\) or \(H, W\), not \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), "not \\(0, 4, 3\\)"),
        ([[1]], "not 'list'"),
    ],
)
def test_what_is_not_an_image_says_why(array: Pixels, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Segmenter(engine=DiscEngine()).embed(array)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"junk")
    with pytest.raises(Refusal, match=r"a\.jpg: the file is not an image"):
        Segmenter(engine=DiscEngine()).embed(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError):
        Segmenter(engine=DiscEngine()).embed(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "there is no prompt"),
        ({"points": [(5, 5)], "labels": [0]}, "only points that are not on the object"),
        ({"points": [(5, 5)], "labels": [1, 0]}, "there are 1 points and 2 labels"),
        ({"points": [(5, 5)], "labels": [2]}, "neither 1"),
        ({"points": [(41, 5)]}, r"the point \(41, 5\) is outside the image of 40x30 pixels"),
        ({"points": [(5, float("nan"))]}, "not finite"),
        ({"points": [(5, 5, 5)]}, "two numbers: x, y"),
        ({"points": [5, 5, 5]}, "two numbers: x, y"),
        ({"points": "here"}, "the points are not numbers"),
        ({"points": [[1, 2], [3]]}, "the points are not numbers"),
        ({"box": (10, 10, 5, 20)}, "covers no pixel"),
        ({"box": (50, 50, 60, 60)}, "covers no pixel"),
        ({"box": (1, 2, 3)}, "four numbers"),
    ],
)
def test_what_is_not_a_prompt_says_why(prompt: dict[str, object], message: str) -> None:
    image = Segmenter(engine=DiscEngine()).embed(np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(Refusal, match=message):
        image.segment(**prompt)  # type: ignore[arg-type]


def test_a_mask_of_another_image_is_not_refined() -> None:
    segmenter = Segmenter(engine=DiscEngine())
    one, other = (segmenter.embed(np.zeros((30, 40, 3), np.uint8)) for _ in range(2))
    with pytest.raises(ValueError, match="belongs to another image"):
        one.segment([(5, 5)], refine=other.segment([(5, 5)]))
    with pytest.raises(ValueError, match=r"\(10, 10\), and the image \(30, 40\)"):
        one.segment([(5, 5)], refine=np.zeros((10, 10), bool))
    with pytest.raises(Refusal, match="a box cannot refine"):
        one.segment(box=(1, 1, 5, 5), refine=one.segment([(5, 5)]))


def test_the_rest_of_a_kind_is_found_by_example(segmenter: Segmenter) -> None:
    pixels = np.full((240, 400, 3), 200, np.uint8)
    for x in (40, 120, 200, 280, 360):
        for y in (60, 180):
            cv2.circle(pixels, (x, y), 22, (70, 40, 120), -1)
    image = segmenter.embed(cv2.GaussianBlur(pixels, (5, 5), 0))
    example = image.segment([(120, 60)])
    found = list(image.find_similar([example]))
    assert len(found) == 9
    assert all(iou(one.array, example.array) == 0 for one in found)
    scores = [mask.score for mask in found]
    assert scores == sorted(scores, reverse=True)
    fewer = list(image.find_similar([example.array], taken=found[:4]))
    assert len(fewer) == 5
    assert len(list(image.find_similar([example], most=2))) == 2
    assert list(image.find_similar([example], negatives=[example])) == []


def test_an_example_must_be_a_mask_of_the_image() -> None:
    segmenter = Segmenter(engine=DiscEngine())
    one, other = (segmenter.embed(np.zeros((30, 40, 3), np.uint8)) for _ in range(2))
    with pytest.raises(ValueError, match="belongs to another image"):
        one.find_similar([other.segment([(5, 5)])])
    with pytest.raises(ValueError, match=r"\(10, 10\), and the image \(30, 40\)"):
        one.find_similar([np.zeros((10, 10), bool)])
    for nothing in ([], [np.zeros((30, 40), bool)]):
        with pytest.raises(Refusal, match="an example is missing"):
            one.find_similar(nothing)


def test_a_batch_comes_in_order_with_a_progress_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        Image.new("RGB", (40 + number, 30)).save(tmp_path / f"{number}.png")
    paths = sorted(tmp_path.glob("*.png"))
    images = list(Segmenter(engine=DiscEngine()).embed_all(paths, progress=True))
    assert [(image.name, image.width) for image in images] == [
        (f"{number}.png", 40 + number) for number in range(5)
    ]
    assert "5/5" in capsys.readouterr().err
    assert list(Segmenter(engine=DiscEngine()).embed_all(iter(paths[:1]), progress=False))
    assert capsys.readouterr().err == ""


def test_threads_share_a_segmenter(segmenter: Segmenter) -> None:
    """Each thread gets the mask of its own image and prompt."""
    pictures = [draw([shape]) for shape in (Shape.DISC, Shape.PLATE)]

    def segment(number: int) -> float:
        shape = (Shape.DISC, Shape.PLATE)[number % 2]
        mask = segmenter.embed(pictures[number % 2]).segment([place(shape)])
        return iou(mask.array, shape.mask())

    with ThreadPoolExecutor(4) as threads:
        assert min(threads.map(segment, range(4))) > 0.95


def test_the_weights_are_those_of_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need_weights()
    monkeypatch.setenv("MOBILESAM_CHECKPOINT", str(WEIGHTS))
    image = Segmenter(model_dir=tmp_path).embed(draw(list(Shape)))
    assert iou(image.segment([place(Shape.DISC)]).array, DISC) > 0.95


def test_without_weights_one_line_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MOBILESAM_CHECKPOINT", raising=False)
    with pytest.raises(SettingsError, match=r"download.* --model mobile_sam fetches it"):
        Segmenter(model_dir=tmp_path)
    with pytest.raises(SettingsError, match="SAM_CHOICE='SAM9'"):
        Segmenter("SAM9")


def test_importing_the_package_is_cheap() -> None:
    """NumPy, OpenCV and ONNX Runtime are imported when a program asks for the Segmenter."""
    code = "import sam_backend, sys; assert not {'numpy', 'cv2', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        sam_backend.Segmentor  # noqa: B018


def test_phrases_find_their_objects(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    class Detector:
        def find(self, image: Pixels, phrase: str) -> list[Finding]:
            assert image.shape == (HEIGHT, WIDTH, 3)
            left, top, right, bottom = Shape.PLATE.box
            box = np.array([left * WIDTH, top * HEIGHT, right * WIDTH, bottom * HEIGHT])
            return [Finding(box.astype(np.float32), 0.8)] if phrase == "plate" else []

    monkeypatch.setattr(segmenter, "_text", TextSearch(Detector))
    found = segmenter.segment_text(draw(list(Shape)), ["plate", "cup"])
    assert list(found) == ["plate", "cup"]
    [mask] = found["plate"]
    assert iou(mask.array, PLATE) > 0.95
    assert mask.score == 0.8
    assert found["cup"] == []


def test_phrases_without_a_text_model_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(Refusal, match="set SAM_TEXT_MODEL"):
        segmenter.segment_text(draw([Shape.DISC]), ["disc"])
