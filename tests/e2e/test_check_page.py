"""The button of the status page that checks a real Label Studio, on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import BackEnd, MakeProject, Project
from tests.e2e.editor import LIMIT_MS


@pytest.fixture(scope="module")
def project(make_project: MakeProject, back_end: BackEnd) -> Project:
    project = make_project("brush", back_end)
    project.new_task()
    return project


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A phone."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    context.set_default_timeout(LIMIT_MS)
    yield context.new_page()
    context.close()


def test_the_button_on_the_status_page(page: Page, back_end: BackEnd, project: Project) -> None:
    page.goto(back_end.url)
    page.get_by_label("Project number").fill(str(project.id))
    page.get_by_role("button", name="Check my Label Studio").click()
    expect(page.get_by_text("Connected model: 'SAM' is connected")).to_be_visible()
    expect(page.get_by_text("A click: in the middle of task")).to_be_visible()
    page.get_by_role("link", name="Back to the status page").click()
    expect(page.get_by_role("heading", name="Last clicks")).to_be_visible()
    expect(page.get_by_text("1 + (a check)").first).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
