"""A folder of one's own images serves every chapter; its names are text and nothing more."""

import json
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from fmlib import chapters
from fmlib.chapters import CHAPTERS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
EVIL = ("<img src=x onerror=alert(1)>", "$x$ | y", "[a](javascript:b)")
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
    return write_folder(tmp_path_factory.mktemp("colour"), EVIL, (20, 28, 3))


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
    chapters.execute(name, given, out)
    cells = json.loads(out.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


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


def test_odd_class_names_are_text_on_the_page(colour: str, tmp_path: Path) -> None:
    book = tmp_path / "book"
    shutil.copytree(ROOT / "book", book, ignore=shutil.ignore_patterns(".*"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    execute("exploration", colour, book / CHAPTERS["exploration"].notebook)
    command = [f"{sysconfig.get_path('scripts')}/jupyter-book", "build", ".", "-n"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "01_exploration" not in run.stderr  # a warning names its page
    page = (tmp_path / "_build/html/book/01_exploration.html").read_text(encoding="utf-8")
    article = BeautifulSoup(page, "html.parser").find("article")
    assert article is not None
    assert [tag for tag in article.find_all(True) if "onerror" in tag.attrs] == []
    assert [a for a in article.find_all("a") if "javascript:" in str(a.get("href"))] == []
    cells = [cell.get_text() for cell in article.find_all("td")]
    assert [name for name in EVIL if name not in cells] == []
    assert re.search(r"<img src=x", page) is None
