"""The book builds without a warning, and its pages are complete and need no network."""

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup, Tag

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent

# The least number of numbered figures and tables on each chapter's page.
EXPECTED = {
    "01_exploration": {"figures": 7, "tables": 6},
    "02_caching": {"figures": 10, "tables": 18},
    "03_feature_map_regularization": {"figures": 6, "tables": 7},
    "04_adversarial_robustness": {"figures": 4, "tables": 9},
}
CHAPTERS = list(EXPECTED)


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages, built from a copy of the committed book."""
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns(".*", "__pycache__")
    for name in ("book", "results"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copyfile(ROOT / name, source / name)
    command = [
        f"{sysconfig.get_path('scripts')}/jupyter-book",
        "build",
        ".",
        "-n",
        "-W",
        "--keep-going",
    ]
    run = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return source / "_build" / "html"


def pages(html: Path) -> Iterator[tuple[Path, BeautifulSoup]]:
    """Each page of the site, parsed."""
    for path in sorted(html.rglob("*.html")):
        if "_static" not in path.relative_to(html).parts:
            yield path, BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def read_article(html: Path, chapter: str) -> Tag:
    """The text of a chapter's page, without the navigation around it."""
    page = (html / "book" / f"{chapter}.html").read_text(encoding="utf-8")
    article = BeautifulSoup(page, "html.parser").find("article")
    assert article is not None
    return article


def attribute(tag: Tag, name: str) -> str:
    """The value of an attribute, empty if the tag does not have it."""
    return str(tag.get(name) or "")


def is_remote(address: str) -> bool:
    """Whether a browser would go to another server for this address."""
    return bool(urlsplit(address).netloc)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_figures_are_numbered_described_and_present(html: Path, chapter: str) -> None:
    figures = read_article(html, chapter).find_all("figure")
    assert len(figures) >= EXPECTED[chapter]["figures"]
    for figure in figures:
        caption = figure.find("figcaption")
        assert caption is not None, f"figure without a caption: {figure.get('id')}"
        assert re.match(r"\s*Fig\.\s+\d", caption.get_text()), caption.get_text()
        image = figure.find("img")
        assert image is not None, caption.get_text()
        assert len(attribute(image, "alt").strip()) >= 20, caption.get_text()
        assert (html / "book" / unquote(attribute(image, "src"))).is_file()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_tables_are_numbered_and_have_a_caption(html: Path, chapter: str) -> None:
    tables = read_article(html, chapter).find_all("table")
    assert len(tables) >= EXPECTED[chapter]["tables"]
    for table in tables:
        caption = table.find("caption")
        assert caption is not None, f"table without a caption: {table.get_text()[:200]}"
        number = re.match(r"\s*Table\s+[\d.]+", caption.get_text())
        assert number is not None, caption.get_text()
        assert caption.get_text()[number.end() :].strip(), "a number alone is no caption"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_solutions_are_folded_up(html: Path, chapter: str) -> None:
    notebook = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    folded = read_article(html, chapter).find_all("details", class_="sd-dropdown")
    assert len(folded) == text.count("{dropdown} Solution")
    assert [details for details in folded if details.has_attr("open")] == []


def test_pages_load_nothing_from_other_servers(html: Path) -> None:
    loads = [
        (path.name, address)
        for path, page in pages(html)
        for tag in page.find_all(["script", "link", "img", "source", "iframe"])
        if is_remote(address := attribute(tag, "src") or attribute(tag, "href"))
    ]
    assert loads == []


def test_inline_scripts_name_no_other_server(html: Path) -> None:
    named = [
        (path.name, script.get_text()[:200])
        for path, page in pages(html)
        for script in page.find_all("script")
        if re.search(r"https?://", script.get_text())
    ]
    assert named == []


def test_formulas_need_no_network(html: Path) -> None:
    scripts = {
        (path.parent / address).resolve()
        for path, page in pages(html)
        for script in page.find_all("script")
        if "mathjax" in (address := attribute(script, "src").split("?")[0])
    }
    assert scripts <= {(html / "_static" / "mathjax" / "tex-chtml.js").resolve()}
    assert (html / "_static" / "mathjax" / "tex-chtml.js").is_file()
    assert list((html / "_static" / "mathjax").rglob("*.woff"))


def test_internal_links_lead_to_files(html: Path) -> None:
    broken = [
        (path.name, address)
        for path, page in pages(html)
        for tag in page.find_all(["a", "link", "script", "img"])
        if (address := attribute(tag, "href") or attribute(tag, "src"))
        and not urlsplit(address).scheme
        and not is_remote(address)
        and (target := unquote(urlsplit(address).path))
        and not (path.parent / target).exists()
    ]
    assert broken == []


def test_buttons_to_the_repository_need_its_address(html: Path) -> None:
    config = (ROOT / "_config.yml").read_text()
    address = re.search(r'^  url: "?([^"\s]*)', config, re.M)
    assert address is not None
    for path, page in pages(html):
        if path.name == "intro.html":
            shown = page.select_one(".btn-source-repository-button") is not None
            assert shown == bool(address.group(1))


def test_page_of_benchmarks_has_its_picture_described_and_its_tables(html: Path) -> None:
    article = read_article(html, "benchmarks")
    [image] = article.find_all("img")
    assert len(attribute(image, "alt")) >= 20
    assert (html / "book" / unquote(attribute(image, "src"))).is_file()
    captions = [table.find("caption") for table in article.find_all("table")]
    assert len(captions) == 2
    assert all(caption is not None and "Table" in caption.get_text() for caption in captions)
