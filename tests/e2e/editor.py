"""Label Studio's editor as an annotator sees it, through Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, Page, Response, expect

KEYPOINT = "key-point-tool"
RECTANGLE = "rectangle-tool"
FIND_REST = "key-point-tool of sam_find"  # the second keypoint in label_configs/find_rest.xml
# A config with label controls of its own for masks, points and boxes has a row of labels for each.
LABEL_ROWS = {KEYPOINT: 1, FIND_REST: 1, RECTANGLE: 2}
SUBMIT = re.compile("^Submit$")  # the button's name differs between versions, its text does not
LIMIT_MS = 120_000  # for what should happen. No test waits as long where all is well


class Editor:
    """One browser page. Positions are fractions of the image: (0, 0) is its top left corner."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.crashes: list[str] = []
        page.on("pageerror", lambda error: self.crashes.append(str(error)))
        self._url = url
        self.label_rows = LABEL_ROWS
        self._tool = KEYPOINT
        self._label = ""

    @property
    def image(self) -> Locator:
        """The image at its place on the screen, below the canvas that takes the clicks."""
        return self.page.locator("img[alt=image]")

    @property
    def suggestions(self) -> Locator:
        """The line that says "1 suggestions" while masks wait to be accepted."""
        return self.page.locator(".lsf-auto-accept__info")

    @property
    def regions(self) -> Locator:
        """The list of regions: prompts and accepted masks."""
        return self.page.locator(".lsf-outliner-item")

    def open(self, project_id: int, task_id: int, *, alone: bool = False) -> None:
        """Open a task with Auto-Annotation switched on.

        `alone` hides the list of tasks; Label Studio then opens the first one to be labelled.
        """
        page = f"{self._url}/projects/{project_id}/data?task={task_id}"
        self.page.goto(page + ("&labeling=1" if alone else ""))
        self.page.locator(".lsf-toolbar").wait_for()
        self.page.locator(".konvajs-content").wait_for()
        toggle = self.page.locator(".lsf-dynamic-preannotations input")
        if not toggle.is_checked():
            self.page.get_by_text("Auto-Annotation").click()
        expect(toggle).to_be_checked()
        self._smart_button.wait_for()

    def open_to_label(self, project_id: int, task_id: int) -> None:
        """Open a task with what is predicted for it, as annotators do who have no model."""
        self.page.goto(f"{self._url}/projects/{project_id}/data?task={task_id}")
        self.page.locator(".konvajs-content").wait_for()

    def choose(self, tool: str, label: str) -> None:
        """Choose a smart tool and the label of what comes next."""
        self._tool, self._label = tool, label
        # The button holds a menu of the smart tools, unless there is only one.
        active = self.page.locator(
            f".lsf-tool_smart.lsf-tool_active[aria-label={tool}], "
            ".lsf-tool_smart.lsf-tool_active:not([aria-label]):not(:has(.lsf-tool_smart))"
        )
        if tool == FIND_REST:
            second = self.page.locator(f".lsf-tool_smart[aria-label={KEYPOINT}]").nth(1)
            active = second.and_(self.page.locator(".lsf-tool_active"))
        for _ in range(4):  # pressing the button goes through the smart tools
            if active.count() == 0:
                self._smart_button.click()
                self._painted()
        expect(active).to_have_count(1)
        self.page.mouse.move(0, 0)  # the button's tip lies over the image
        expect(self.page.locator(".lsf-toolbar__smart")).to_be_hidden()
        self._choose_label()

    def click(
        self, x: float, y: float, *, negative: bool = False, over_region: bool = False
    ) -> dict[str, Any]:
        """Place a smart keypoint and return the back end's prediction for it.

        `over_region` holds Ctrl, without which a click on a prompt or an accepted mask selects it.
        """
        held = [key for key, wanted in (("Control", over_region), ("Alt", negative)) if wanted]
        self._choose_label()
        with self._answer() as answer:
            for key in held:
                self.page.keyboard.down(key)
            self.page.mouse.click(*self._place(x, y))
            for key in held:
                self.page.keyboard.up(key)
        return answer

    def drag(self, left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
        """Draw a smart rectangle and return the back end's prediction for it."""
        self._choose_label()
        with self._answer() as answer:
            self.page.mouse.move(*self._place(left, top))
            self.page.mouse.down()
            self.page.mouse.move(*self._place((left + right) / 2, (top + bottom) / 2))
            self.page.mouse.move(*self._place(right, bottom))
            self.page.mouse.up()
        return answer

    def write(self, text: str) -> dict[str, Any]:
        """Enter a line in the text area and return the back end's prediction for it."""
        with self._answer() as answer:
            self.page.get_by_label("TextArea Input").fill(text)
            self.page.get_by_label("TextArea Input").press("Enter")
        return answer

    def delete(self, x: float, y: float) -> None:
        """Delete the prompt at a place. The editor tells nobody."""
        before = self.regions.count()
        self.page.mouse.click(*self._place(x, y))
        self.page.get_by_label("Delete selected region").click()
        expect(self.regions).to_have_count(before - 1)

    def accept(self) -> None:
        """Accept all suggestions."""
        self.page.locator(".lsf-auto-accept__action_type_accept").click()
        expect(self.suggestions).to_have_count(0)

    def accept_into_draft(self) -> None:
        """Accept all suggestions, and wait until Label Studio has a draft with their masks."""
        with self.page.expect_response(_is_draft_with_masks):
            self.accept()

    def reject(self) -> None:
        """Reject all suggestions."""
        self.page.locator(".lsf-auto-accept__action_type_reject").click()
        expect(self.suggestions).to_have_count(0)

    def undo(self) -> None:
        """Take back the last step."""
        self.page.get_by_label("Undo").click()

    def submit(self) -> None:
        """Save the annotation and wait until Label Studio has it."""
        with self.page.expect_response(_is_save) as saved:
            self.page.locator("button", has_text=SUBMIT).click()
        assert saved.value.ok, saved.value.text()

    def _painted(self) -> None:
        """Wait until the page shows what the last input changed."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")

    @property
    def _smart_button(self) -> Locator:
        return self.page.locator(".lsf-tool_smart:not([aria-label])")

    def _choose_label(self) -> None:
        rows = self.page.locator(".lsf-labels")
        row = rows.nth(self.label_rows[self._tool] if rows.count() > 1 else 0)
        label = row.locator(".lsf-label", has_text=self._label)
        if "lsf-label_selected" not in (label.get_attribute("class") or ""):
            label.click()

    def _place(self, x: float, y: float) -> tuple[float, float]:
        box = self.image.bounding_box()
        assert box, "the editor shows no image"
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    @contextmanager
    def _answer(self) -> Iterator[dict[str, Any]]:
        """Filled in with the prediction that the editor gets for what happens inside."""
        answer: dict[str, Any] = {}
        with self.page.expect_response(_is_prediction) as got:
            yield answer
        body = got.value.json()
        assert "data" in body, body
        answer.update(body["data"])
        if answer["result"]:
            self.suggestions.wait_for()


def _is_prediction(response: Response) -> bool:
    """An answer to a prompt; on saving, the editor asks once more without any."""
    request = response.request
    return "/interactive-annotating" in request.url and '"result":[]' not in (
        request.post_data or ""
    )


def _is_draft_with_masks(response: Response) -> bool:
    """A draft is saved 5 s after a change; an earlier one may be under way, without the masks."""
    return (
        "/drafts" in response.url and response.ok and '"rle"' in (response.request.post_data or "")
    )


def _is_save(response: Response) -> bool:
    return response.request.method in {"POST", "PATCH"} and "/annotations" in response.url
