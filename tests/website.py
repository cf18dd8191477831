"""The book's pages: built from the committed notebooks, and read."""

import json
import re
import shutil
import subprocess
import sysconfig
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import yaml  # type: ignore[import-untyped]
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).parent.parent
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

PARTS = [part for chapter in TOC["chapters"] for part in (chapter, *chapter.get("sections", ()))]
WRITTEN = [f"{part['file']}.html" for part in [{"file": TOC["root"]}, *PARTS]]
"""The pages of the table of contents, in its order."""
CODE = ["_modules/index.html", "_modules/fmlib/caching.html"]
"""The list of the modules whose code is shown, and one of them for all."""
PAGES = [*WRITTEN, *CODE, "genindex.html", "search.html"]
"""All pages but the code of the other modules, and `index.html`, which leads to the first one."""


def copy_book(target: Path, *names: str) -> None:
    """Put a copy of the book, and of the folders named, where it can be built."""
    ignored = shutil.ignore_patterns(".*", "__pycache__")
    for name in ("book", *names):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copyfile(ROOT / name, target / name)


def html(source: Path) -> Path:
    """The folder of a copied book's pages."""
    return source / "_build" / "html"


def build(source: Path, *options: str) -> tuple[Path, str]:
    """Build the pages of a copied book; returns their folder and the warnings."""
    command = [f"{sysconfig.get_path('scripts')}/jupyter-book", "build", ".", "-n", *options]
    run = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return html(source), run.stderr


def pages(html: Path) -> Iterator[tuple[Path, BeautifulSoup]]:
    """Each page of the site, parsed."""
    for path in sorted(html.rglob("*.html")):
        if "_static" not in path.relative_to(html).parts:
            yield path, BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def attribute(tag: Tag, name: str) -> str:
    """The value of an attribute, empty if the tag does not have it."""
    return str(tag.get(name) or "")


def is_remote(address: str) -> bool:
    """Whether a browser would go to another server for this address."""
    return bool(urlsplit(address.strip()).netloc)


class Link(NamedTuple):
    """A link of a page to a file of the site, or to a place in it."""

    page: Path
    target: Path
    place: str


def internal_links(html: Path) -> Iterator[Link]:
    """All that pages refer to within the site."""
    for path, page in pages(html):
        for tag in page.find_all(["a", "link", "script", "img"]):
            parts = urlsplit(attribute(tag, "href") or attribute(tag, "src"))
            if not parts.scheme and not parts.netloc:
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                yield Link(path, target, unquote(parts.fragment))


def pictures(notebook: Path) -> list[bytes]:
    """The PNG files in a notebook's outputs."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [b64decode("".join(data["image/png"])) for data in found if "image/png" in data]


def cells_without_pictures(notebook: Path) -> list[dict[str, object]]:
    """A notebook's cells, the PNG files in their outputs taken out."""
    cells: list[dict[str, object]] = json.loads(
        notebook.read_text(encoding="utf-8"),
        object_hook=lambda data: {key: data[key] for key in data if key != "image/png"},
    )["cells"]
    return cells


def addresses_in_style(style: str) -> list[str]:
    """What a browser loads for a style sheet: images, fonts, other style sheets."""
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.S)
    called = re.findall(r"""url\(\s*("[^"]*"|'[^']*'|[^)]*)\)""", style)
    imported = re.findall(r"""@import\s+("[^"]*"|'[^']*')""", style)
    return [address.strip().strip("\"'") for address in (*called, *imported)]


def loaded_addresses(page: BeautifulSoup) -> list[str]:
    """All that a browser loads for a page of its own accord, as the page names it.

    Links that a reader may follow do not count, nor does what scripts ask for while they run.
    """
    found = [
        address
        for tag in page.find_all(True)
        for name in ("src", "data", "poster", "background", "xlink:href")
        if (address := attribute(tag, name))
    ]
    for tag in page.find_all(["link", "image", "use", "base"]):
        found.append(attribute(tag, "href"))
    for tag in page.find_all(srcset=True):
        found += [part.split()[0] for part in attribute(tag, "srcset").split(",")]
    for tag in page.find_all("meta", attrs={"http-equiv": re.compile("refresh", re.I)}):
        found.append(attribute(tag, "content").partition("=")[2])
    styles = [tag.get_text() for tag in page.find_all("style")]
    styles += [attribute(tag, "style") for tag in page.find_all(style=True)]
    return [*filter(None, found), *(url for style in styles for url in addresses_in_style(style))]
