"""Write a project's masks as PNG, NumPy, COCO or YOLO files.

`--project` reads through Label Studio's API, `--tasks` a file that was exported as JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sam_backend.clicks import label_config
from sam_backend.clicks.label_config import LabelConfig
from sam_backend.errors import Refusal
from sam_backend.exports import by_name
from sam_backend.exports.export import Export, Summary, labels
from sam_backend.exports.formats import Categories
from sam_backend.label_studio.api import StudioApi
from sam_backend.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--project", type=int, help="number of a project in Label Studio")
    source.add_argument("--tasks", type=Path, help="a file that was exported as JSON")
    parser.add_argument(
        "--config",
        type=Path,
        help="a label config, which orders the labels; default: the project's",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=by_name.FORMATS,
        default=["coco"],
        help="one or more; default: coco",
    )
    parser.add_argument(
        "--annotations",
        choices=("all", "latest"),
        default="all",
        help="which annotations of a task to export; default: all",
    )
    parser.add_argument(
        "--coco-segmentation",
        choices=("rle", "polygons"),
        default="rle",
        help="how COCO's masks are written; default: rle",
    )


def run(options: argparse.Namespace) -> int:
    """Exit status 0: everything is exported. 1: reported regions are missing."""
    left_out: list[str] = []

    def report(line: str) -> None:
        left_out.append(line)
        print(line, file=sys.stderr)

    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with _source(options) as (path, config):
            latest = options.annotations == "latest"
            categories = Categories(config, labels(path, latest=latest))
            polygons = options.coco_segmentation == "polygons"
            formats = [
                by_name.open_format(name, options.out, categories, coco_polygons=polygons)
                for name in options.format
            ]
            summary = Export(path, config, latest, formats, report).run()
    except OSError as error:
        raise Refusal("files", f"{options.out} cannot be written: {error.strerror}") from None
    print(_summary_text(summary, options.out, len(left_out)))
    return 1 if left_out else 0


@contextmanager
def _source(options: argparse.Namespace) -> Iterator[tuple[Path, LabelConfig | None]]:
    """Label Studio's export as a file, and the label config if there is one."""
    config = label_config.read(options.config) if options.config else None
    if options.tasks is not None:
        yield options.tasks, config
        return
    api = StudioApi(Settings.from_environment())
    project = api.get(f"/api/projects/{options.project}")
    config = config or label_config.parse(str(project["label_config"]))
    with tempfile.TemporaryDirectory(prefix=".part-", dir=options.out) as folder:
        path = Path(folder) / "export.json"
        _fetch(api, options.project, path)
        yield path, config


def _fetch(api: StudioApi, project: int, path: Path) -> None:
    """The project's export as a temporary file, because it is read twice."""
    with (
        api.stream(f"/api/projects/{project}/export", exportType="JSON") as chunks,
        path.open("wb") as file,
    ):
        for chunk in chunks:
            file.write(chunk)


def _summary_text(summary: Summary, out: Path, left_out: int) -> str:
    lines = [f"{summary.regions} masks on {summary.pictures} pictures are in {out}"]
    if left_out:
        lines.append(f"{left_out} could not be read: see above")
    if summary.empty:
        lines.append(f"{summary.empty} masks without a pixel are left out")
    if summary.shared:
        lines.append(
            f"{summary.shared} tasks have several annotations, and all are exported: "
            "--annotations latest exports one of each"
        )
    if summary.rotated:
        lines.append(
            f"{summary.rotated} masks were drawn on a rotated picture: they are not rotated"
        )
    return "\n".join(lines)
