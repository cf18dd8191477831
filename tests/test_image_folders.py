"""A folder of one's own images serves every chapter; its names are text and nothing more."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from playwright.sync_api import Browser

from fmlib import chapters
from fmlib.chapters import CHAPTERS
from tests import browsing, website

pytestmark = pytest.mark.slow

EVIL = ("<img src=x onerror=alert(1)>", "$x$ | y", "[a](javascript:b)")
UNESCAPED = "<img src=z onerror=alert(3)>"
ODD_FOLDER = "<img src=y onerror=alert(2)>"
PLAIN = ("circles", "squares")
SIZES = {"train": 330, "val": 120}


def write_folder(root: Path, names: tuple[str, ...], shape: tuple[int, ...]) -> str:
    """Noise upon one of five patterns for each class; returns the dataset's name."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 60, (len(names), 5, *shape))
    for split, count in SIZES.items():
        (root / split / ".ipynb_checkpoints").mkdir(parents=True)
        for number in range(count):
            label = number % len(names)
            pixels = patterns[label, number % 5] + rng.integers(0, 190, shape)
            file = root / split / names[label] / f"{number:03d}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(file)
    return f"image-folder:{root}"


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Colour images, wider than high, in classes whose names look like markup."""
    return write_folder(tmp_path_factory.mktemp("colour") / ODD_FOLDER, EVIL, (20, 28, 3))


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Grey images, higher than wide, two classes."""
    return write_folder(tmp_path_factory.mktemp("grey"), PLAIN, (26, 17))


def execute(name: str, dataset: str, out: Path) -> list[dict[str, Any]]:
    """The outputs of a chapter at smoke size."""
    given: dict[str, object] = {"profile": "smoke", "dataset": dataset}
    if "classes" in CHAPTERS[name].settings.model_fields:
        given["classes"] = [0, 1]
    if CHAPTERS[name].profiles["smoke"].get("n_held_out"):
        given["n_train"] = 100
    if "courses" in CHAPTERS[name].settings.model_fields:
        given["courses"] = ["scratch"]  # the others need images of the same size
    chapters.execute(name, given, out)
    cells = json.loads(out.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def add_outputs(path: Path, text: str) -> None:
    """Append cells that show Markdown, as a chapter would that escapes nothing."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    data = {"text/markdown": f"a {text}\n\n{text}"}
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    cell = {"cell_type": "code", "source": "1", "execution_count": 1, "outputs": [output]}
    for number, metadata in enumerate(({}, {"mystnb": {"markdown_format": "myst"}})):
        notebook["cells"].append({**cell, "id": f"added-{number}", "metadata": metadata})
    path.write_text(json.dumps(notebook), encoding="utf-8")


def texts(outputs: list[dict[str, Any]], *kinds: str) -> str:
    """All that stands in outputs of these kinds."""
    return "\n".join(
        "".join(o["data"][kind]) for o in outputs for kind in kinds if kind in o["data"]
    )


@pytest.mark.parametrize("name", CHAPTERS)
def test_colour_images_with_odd_class_names_run(name: str, colour: str, tmp_path: Path) -> None:
    outputs = execute(name, colour, tmp_path / "out.ipynb")
    assert [o for o in outputs if o.get("name") == "stderr" or o["output_type"] == "error"] == []
    shown = texts([o for o in outputs if "data" in o], "text/html", "text/markdown")
    assert ":name: tab-" in shown
    for markup in ("<img", "<script", *EVIL, "javascript:"):
        assert markup not in shown
    if name == "exploration":
        assert "&#60;img src&#61;x onerror&#61;alert(1)&#62;" in shown


@pytest.mark.parametrize("name", CHAPTERS)
def test_grey_images_of_another_size_run(name: str, grey: str, tmp_path: Path) -> None:
    outputs = execute(name, grey, tmp_path / "out.ipynb")
    assert [o for o in outputs if o.get("name") == "stderr" or o["output_type"] == "error"] == []


@pytest.fixture(scope="module")
def odd_page(colour: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a chapter that was run on classes whose names look like markup."""
    source = tmp_path_factory.mktemp("odd")
    website.copy_book(source)
    notebook = source / "book" / CHAPTERS["exploration"].notebook
    execute("exploration", colour, notebook)
    add_outputs(notebook, UNESCAPED)
    html, warnings = website.build(source)
    assert "01_exploration" not in warnings  # a warning names its page
    return html / "book" / "01_exploration.html"


def test_odd_class_names_are_text_on_the_page(odd_page: Path) -> None:
    page = odd_page.read_text(encoding="utf-8")
    article = BeautifulSoup(page, "html.parser").find("article")
    assert article is not None
    assert [tag for tag in article.find_all(True) if "onerror" in tag.attrs] == []
    assert [a for a in article.find_all("a") if "javascript:" in str(a.get("href"))] == []
    cells = [cell.get_text() for cell in article.find_all("td")]
    assert [name for name in EVIL if name not in cells] == []
    assert re.search(r"<img src=x", page) is None


def test_odd_class_names_do_nothing_in_a_browser(odd_page: Path, browser: Browser) -> None:
    with browsing.visit(browser, odd_page) as opened:
        assert opened.problems == []
        assert opened.page.locator("[onerror], img[src=x]").count() == 0
        assert opened.page.get_by_text(UNESCAPED).count() == 4
        assert opened.page.locator("mjx-container", has_text="x").count() == 0
        for name in EVIL:
            assert opened.page.locator("td", has_text=name).count() > 0
        folder = opened.page.locator("pre", has_text=ODD_FOLDER)
        assert folder.count() == 1, "the parameters name the folder"


def test_markup_that_is_not_escaped_is_noticed(tmp_path: Path, browser: Browser) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><p>{EVIL[0]}</p>", encoding="utf-8")
    with browsing.visit(browser, page) as opened:
        assert "dialog: 1" in opened.problems
