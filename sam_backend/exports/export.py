"""From the tasks of an export to the files of all formats, region by region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam_backend.clicks.label_config import LabelConfig
from sam_backend.exports import saved_regions, task_file
from sam_backend.exports.file_names import SafeNames, picture, safe
from sam_backend.exports.formats import Add, ExportedPicture, Format
from sam_backend.exports.saved_regions import SavedRegion
from sam_backend.exports.task_file import Report
from sam_backend.formats.pictures import MOST_PIXELS
from sam_backend.formats.results import Page


@dataclass
class Summary:
    """The result of an export, in numbers."""

    pictures: int = 0
    regions: int = 0
    empty: int = 0  # erased, or too thin to contain the centre of a pixel
    shared: int = 0  # tasks with several annotations, all of which are exported
    rotated: int = 0  # regions on pictures that were rotated in the editor


def labels(path: Path, *, latest: bool) -> set[str]:
    """The labels of all regions with masks."""
    return {
        label
        for task in task_file.read(path, lambda _line: None)  # reported in the second pass
        for by_annotation in saved_regions.pages(
            saved_regions.finished(task, latest=latest)
        ).values()
        for found in by_annotation.values()
        for region in found
        for label in region.labels
    }


@dataclass
class Export:
    """One export of a file to all chosen formats."""

    path: Path  # of Label Studio's JSON
    config: LabelConfig | None
    latest: bool
    formats: Sequence[Format]
    report: Report

    def run(self) -> Summary:
        summary = Summary()
        names = SafeNames()
        for task in task_file.read(self.path, self.report):
            annotations = saved_regions.finished(task, latest=self.latest)
            summary.shared += len(annotations) > 1
            for page, by_annotation in saved_regions.pages(annotations).items():
                if not 0 < page.height * page.width <= MOST_PIXELS:
                    self._report_all(task, page, by_annotation.values())
                    continue
                summary.pictures += 1
                for annotation, found in by_annotation.items():
                    where = "" if page.item_index is None else f"-page-{page.item_index}"
                    name = f"task-{task.get('id')}-annotation-{annotation}{where}"
                    page_picture = ExportedPicture(
                        task=str(task.get("id")),
                        annotation=annotation,
                        page=page,
                        file_name=picture(task, page, self.config),
                        name=names.free(safe(name)),
                    )
                    self._write(page_picture, found, summary)
        for form in self.formats:
            form.finish()
        return summary

    def _write(
        self, picture: ExportedPicture, found: Iterable[SavedRegion], summary: Summary
    ) -> None:
        with ExitStack() as stack:
            adds: list[Add] = [stack.enter_context(form.picture(picture)) for form in self.formats]
            for region in found:
                try:
                    mask = region.mask()
                    if not mask.any():
                        summary.empty += 1
                        continue
                    for add in adds:
                        add(region, mask)
                except ValueError as error:
                    self._left_out(picture.task, region, str(error))
                    continue
                summary.regions += 1
                summary.rotated += region.rotation != 0

    def _report_all(
        self, task: Mapping[str, Any], page: Page, found: Iterable[Iterable[SavedRegion]]
    ) -> None:
        why = f"{page.width}x{page.height} is not a valid picture size"
        for some in found:
            for region in some:
                self._left_out(str(task.get("id")), region, why)

    def _left_out(self, task: str, region: SavedRegion, why: str) -> None:
        self.report(f"task {task}, region {region.id}: {why}")
