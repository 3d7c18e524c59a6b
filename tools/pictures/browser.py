"""The browser in which the pictures are taken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from tools.studio.label_studio import LabelStudio


@contextmanager
def opened_page(size: tuple[int, int], studio: LabelStudio | None = None) -> Iterator[Page]:
    """An empty page of this size in CSS pixels, signed in to a Label Studio if there is one."""
    width, height = size
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        if studio is not None:
            for name, value in studio.cookies.items():
                page.context.add_cookies([{"name": name, "value": value, "url": studio.url}])
        yield page
        browser.close()
