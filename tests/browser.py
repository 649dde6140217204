"""A browser for the tests: where it is found, and pages opened in it that write down what they ask for and complain of.

Choices: the system's Chromium or the one that playwright installed, whichever is there; ZSBENCH_BROWSER names another.
Where there is none the tests skip and say so, but not on a machine that says CI: there it must be installed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no browser: install Chromium, or run `python -m playwright install chromium`, or name one in ZSBENCH_BROWSER"
WIDE, MIDDLE, NARROW = 1440, 768, 390  # widths of a desk, a tablet and a phone, in CSS pixels


def browser_path(playwright: Playwright) -> str | None:
    """The browser's program, or None where there is none."""
    if named := os.environ.get("ZSBENCH_BROWSER"):
        return named
    own = Path(playwright.chromium.executable_path)
    return next((path for name in NAMES if (path := shutil.which(name))), str(own) if own.is_file() else None)


@contextmanager
def started() -> Iterator[Browser]:
    """A headless browser. Skips the test where none is installed; fails it there where CI is set."""
    with sync_playwright() as playwright:
        path = browser_path(playwright)
        if path is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=[*root, "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@dataclass
class Opened:
    """An open page. requests: every address it asked for. complaints: console errors, warnings and exceptions."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def all(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)


@contextmanager
def visit(browser: Browser, file: Path, width: int = WIDE, address: str = "", **context: Any) -> Iterator[Opened]:
    """The file opened at a width, with the choices of playwright's `new_context`; offline, so nothing can come in."""
    with browser.new_context(viewport={"width": width, "height": 900}, offline=True, **context) as own:
        opened = Opened(own.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("dialog", lambda dialog: (opened.complaints.append(dialog.message), dialog.dismiss()))
        opened.page.on("console", lambda said: opened.complaints.append(said.text) if said.type != "log" else None)
        opened.page.goto(file.as_uri() + address)
        yield opened


OPEN_ALL = "for (const item of document.querySelectorAll('details')) item.open = true"

# Every number of the page with what it says of itself: the runs, the file, and the other marks of its row.
NUMBERS = """() => [...document.querySelectorAll("data[data-column]")].map((data) => {
  const row = data.closest("[data-keys]");
  const {keys, file, ...marks} = row.dataset;
  return {keys: keys.split(" ").filter(Boolean), file: file ?? "runs", marks, value: Number(data.value),
          printed: data.textContent, ...data.dataset};
})"""


def overflow(opened: Opened) -> int:
    """By how many pixels the page is wider than the window."""
    return int(opened.all("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def widest(opened: Opened, wanted: str, most: float) -> list[str]:
    """The elements of a selector that reach beyond `most` pixels, by their first words."""
    return list(opened.all(
        """([wanted, most]) => [...document.querySelectorAll(wanted)]
          .filter((item) => item.checkVisibility() && item.getBoundingClientRect().right > most + 0.5)
          .map((item) => `${item.getBoundingClientRect().right}: ${item.textContent.trim().slice(0, 60)}`)""",
        [wanted, most],
    ))  # fmt: skip
