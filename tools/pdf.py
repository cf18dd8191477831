"""The book as one PDF file, printed by the Chrome or Chromium that is there.

    python -m tools.pdf _build/html _build/book.pdf

Every page of the table of contents is printed, with everything unfolded, and the pages are joined
in its order; each is a bookmark.
"""

import io
import sys
from pathlib import Path

from playwright.sync_api import Browser, PdfMargins
from pypdf import PdfWriter

from tests import browsing
from tests.website import WRITTEN

# Links to other pages would lead to files of this machine.
WITHOUT_OTHER_PAGES = """() => {
    for (const link of document.querySelectorAll('article a[href]'))
        if (link.protocol === 'file:' && link.pathname !== location.pathname)
            link.removeAttribute('href');
}"""


def print_page(browser: Browser, path: Path) -> tuple[str, bytes]:
    """Title and PDF of a page, as it looks on paper."""
    with browsing.visit(browser, path) as opened:
        opened.unfold()
        opened.page.evaluate(WITHOUT_OTHER_PAGES)
        title = opened.page.locator("article h1").first.inner_text().strip("# ")
        margin: PdfMargins = {"top": "16mm", "bottom": "16mm", "left": "14mm", "right": "14mm"}
        return title, opened.page.pdf(format="A4", margin=margin, print_background=True)


def make(html: Path, target: Path) -> None:
    """Print all pages of a built book into one file, whole or not at all.

    Raises:
        ValueError: there is no browser, or a page is missing.
    """
    if missing := [name for name in WRITTEN if not (html / name).is_file()]:
        raise ValueError(f"{html} lacks {missing[0]}: run `make book` first")
    if (program := browsing.find_browser()) is None:
        raise ValueError(f"{browsing.NO_BROWSER}: install one to make a PDF of them")
    writer = PdfWriter()
    with browsing.start(program) as browser:
        for name in WRITTEN:
            title, printed = print_page(browser, html / name)
            writer.append(io.BytesIO(printed), outline_item=title)
    part = target.with_suffix(".part")
    writer.write(part)
    part.replace(target)


def main() -> int:
    """Make the file that the command line names, or say in one line why not."""
    html, target = map(Path, sys.argv[1:3])
    try:
        make(html, target)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(target.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
