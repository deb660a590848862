"""A real browser for pages: what they complain of, and what they ask for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="needs chromium or google-chrome, on the path or as $CHROMIUM"
)

Visit = Callable[..., Any]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped without Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser.new_context()
        browser.close()


@contextmanager
def watched(context: Any, folder: Path) -> Iterator[Visit]:
    """Opens pages of a folder; afterwards none of them may have complained, or asked for any other file."""
    pages, complaints, asked = [], [], []

    def opened(path: str = "index.html", width: int = 1280, scheme: str = "light") -> Any:
        page = context.new_page()
        pages.append(page)
        page.set_default_timeout(60_000)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: asked.append((request.url, request.is_navigation_request())))
        page.goto((folder / path).as_uri())
        return page

    yield opened
    for page in pages:
        page.close()
    assert [text for text in complaints if text.startswith(("error", "warning"))] == []
    assert [url for url, navigation in asked if not (navigation and url.startswith(folder.as_uri()))] == []
