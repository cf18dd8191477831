"""Pages in a real browser that has no network."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

PROGRAMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
"""Browsers that the tests know, by command or path, in the order of preference."""

NO_BROWSER = "no Chrome or Chromium is installed, to open the book's pages in"

Scheme = Literal["light", "dark"]
DESKTOP = 1280
PHONE = 400

# Everything that goes on after the load event: formulas are typeset, fonts arrive.
SETTLED = """async () => {
    if (window.MathJax?.startup?.promise) await MathJax.startup.promise;
    await document.fonts.ready;
}"""


UNFOLDED = """() => {
    document.querySelectorAll('details').forEach(one => one.open = true);
    document.getAnimations().forEach(one => one.finish());
}"""


def find_browser() -> str | None:
    """Chrome or Chromium on this machine, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def start(program: str) -> Iterator[Browser]:
    """Run a browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@dataclass
class Visit:
    """An open page, what it has asked for so far, and what went wrong."""

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Take notes from now on."""
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "requestfailed", lambda request: self.problems.append(f"not loaded: {request.url}")
        )
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("console", self._hear)
        self.page.on("dialog", self._dismiss)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _dismiss(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self, path: Path) -> None:
        """Open a file and wait until nothing on it moves any more."""
        self.page.goto(path.as_uri())
        self.page.evaluate(SETTLED)

    def unfold(self) -> None:
        """Open everything that is folded up, without the motion in which it appears."""
        self.page.evaluate(UNFOLDED)

    def reopen(self, width: int, scheme: Scheme) -> None:
        """Open the page anew in a window of this width, light or dark, with nothing folded up."""
        self.resize(width)
        self.page.emulate_media(color_scheme=scheme)
        self.page.reload()
        self.page.evaluate(SETTLED)
        self.unfold()

    def resize(self, width: int) -> None:
        """Give the window another width."""
        self.page.set_viewport_size({"width": width, "height": 900})

    @property
    def weight(self) -> int:
        """Bytes of all files that were asked for."""
        parts = [urlsplit(address) for address in self.requests]
        files = {Path(unquote(part.path)) for part in parts if part.scheme == "file"}
        return sum(file.stat().st_size for file in files)


@contextmanager
def visit(
    browser: Browser, path: Path, width: int = DESKTOP, scheme: Scheme = "light"
) -> Iterator[Visit]:
    """Open a file as a new visitor does, without a network."""
    context = browser.new_context(
        offline=True, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    context.set_default_timeout(120_000)  # other programs may be busy too
    opened = Visit(context.new_page())
    opened.listen()
    opened.go(path)
    yield opened
    context.close()
