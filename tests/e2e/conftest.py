"""A browser for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# As root, in a container and without network Chromium needs to be told.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; the test is skipped where there is none.

    Of one module: as long as it lives, playwright keeps an event loop running, in which no async test can run.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=120_000)
        yield running
        running.close()


@dataclass
class Shown:
    """A page in the browser, with what it wrote to the console and what it asked the network for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


OpenPage = Callable[[Path, int, int, str], AbstractContextManager[Shown]]


@pytest.fixture
def open_page(browser: Any) -> OpenPage:
    """Opens a file at a width, a height and a colour scheme."""

    @contextmanager
    def opened(file: Path, width: int, height: int, scheme: str) -> Iterator[Shown]:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, is_mobile=width < 500
        )
        shown = Shown(context.new_page())
        shown.page.set_default_timeout(120_000)
        shown.page.on("console", lambda message: shown.said.append(message.text))
        shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
        shown.page.on("request", lambda request: shown.asked.append(request.url))
        shown.page.goto(file.as_uri())
        yield shown
        context.close()

    return opened


@pytest.fixture(scope="session")
def bundled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all tests of the bundled models: joining a gigabyte and loading it once is enough."""
    return tmp_path_factory.mktemp("e2e") / "home"
