"""The book builds without a warning, and its pages are complete and need no network."""

import io
import json
import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from bs4 import BeautifulSoup, Tag
from PIL import Image, ImageChops

from tests import website
from tests.website import ROOT, attribute, is_remote, pages

pytestmark = [pytest.mark.slow, pytest.mark.pages]

# The least number of numbered figures and tables on each chapter's page.
EXPECTED = {
    "01_exploration": {"figures": 8, "tables": 8},
    "02_caching": {"figures": 10, "tables": 18},
    "03_feature_map_regularization": {"figures": 8, "tables": 10},
    "04_adversarial_robustness": {"figures": 4, "tables": 9},
    "05_feature_evolution": {"figures": 7, "tables": 9},
    "06_what_feature_maps_see": {"figures": 10, "tables": 8},
    "07_inversion_and_dissection": {"figures": 8, "tables": 7},
    "08_ablation_and_transfer": {"figures": 8, "tables": 12},
    "09_convolutional_similarity": {"figures": 10, "tables": 12},
}
CHAPTERS = list(EXPECTED)
OF_PICTURES = (
    "05_feature_evolution",
    "06_what_feature_maps_see",
    "07_inversion_and_dissection",
)
"""Chapters whose figures are photographs and coloured noise, which fewer colours shrink less."""


def read_article(html: Path, chapter: str) -> Tag:
    """The text of a chapter's page, without the navigation around it."""
    page = (html / "book" / f"{chapter}.html").read_text(encoding="utf-8")
    article = BeautifulSoup(page, "html.parser").find("article")
    assert article is not None
    return article


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


def test_every_page_is_known_to_the_tests(html: Path) -> None:
    built = {path.relative_to(html).as_posix() for path, _ in pages(html)}
    code = {name for name in built if name.startswith("_modules/fmlib/")}
    assert built - code == {*website.PAGES, "index.html"} - code


def test_a_reference_of_each_kind_is_found() -> None:
    text = """
        <meta http-equiv="Refresh" content="0; url=//a.b/1"><link rel="preload" href="//a.b/2">
        <script src="//a.b/3"></script><img src="4.png" srcset="//a.b/5 1x, //a.b/6 2x">
        <iframe src="//a.b/7"></iframe><object data="//a.b/8"></object><video poster="//a.b/9">
        <svg><image xlink:href="//a.b/10"/><use href="//a.b/11"/></svg>
        <style>@import "//a.b/12"; p { background: url('//a.b/13') } /* url(no) */</style>
        <p style="background: url(//a.b/14)"></p> <a href="//a.b/no">a link to follow</a>"""
    found = website.loaded_addresses(BeautifulSoup(text, "html.parser"))
    remote = {address for address in found if website.is_remote(address)}
    assert remote == {f"//a.b/{number}" for number in (*range(1, 4), *range(5, 15))}
    assert set(found) - remote == {"4.png"}


def test_pages_load_nothing_from_other_servers(html: Path) -> None:
    loaded = [
        (path.name, address)
        for path, page in pages(html)
        for address in website.loaded_addresses(page)
        if is_remote(address)
    ]
    assert loaded == []


def test_style_sheets_load_nothing_from_other_servers(html: Path) -> None:
    sheets = list(html.rglob("*.css"))
    loaded = [
        (sheet.name, address)
        for sheet in sheets
        for address in website.addresses_in_style(sheet.read_text(encoding="utf-8"))
    ]
    assert len(loaded) > len(sheets)
    assert [(name, address) for name, address in loaded if is_remote(address)] == []


def test_inline_scripts_name_no_other_server(html: Path) -> None:
    named = [
        (path.name, script.get_text()[:200])
        for path, page in pages(html)
        for script in page.find_all("script")
        if re.search(r"https?://", script.get_text())
    ]
    assert named == []


def test_formulas_need_no_network(html: Path) -> None:
    page = (html / "book" / "02_caching.html").read_text(encoding="utf-8")
    loaded = re.search(r'"load": (\[.*?\])', page)
    assert loaded is not None
    components = json.loads(loaded.group(1))
    assert {"input/tex", "output/chtml"} <= set(components)
    for name in ("startup", "output/chtml/fonts/tex", *components):
        assert (html / "_static" / "mathjax" / f"{name}.js").is_file()
    assert list((html / "_static" / "mathjax").rglob("*.woff"))


def test_internal_links_lead_to_files_and_places_in_them(html: Path) -> None:
    links = list(website.internal_links(html))
    assert [link for link in links if not link.target.exists()] == []
    places = {
        path: {attribute(tag, name) for tag in page.find_all(True) for name in ("id", "name")}
        for path, page in pages(html)
    }
    to_places = [link for link in links if link.place]
    assert len(to_places) > 100
    assert [link for link in to_places if link.place not in places[link.target]] == []


def test_site_is_light(html: Path) -> None:
    assert sum(path.stat().st_size for path in html.rglob("*") if path.is_file()) < 40_000_000


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_figures_are_lighter_than_the_notebooks_and_look_the_same(html: Path, chapter: str) -> None:
    before = website.pictures(ROOT / "book" / f"{chapter}.ipynb")
    after = [html / "_images" / f"{sha256(file).hexdigest()}.png" for file in before]
    share = sum(path.stat().st_size for path in after) / sum(map(len, before))
    assert share < (0.8 if chapter in OF_PICTURES else 0.6)
    for file, path in zip(before, after, strict=True):
        with Image.open(io.BytesIO(file)) as drawn, Image.open(path) as shown:
            change = ImageChops.difference(drawn.convert("RGB"), shown.convert("RGB"))
        seen = np.asarray(change).max(axis=2) > 8  # height × width
        assert seen.mean() <= 0.01


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_notebook_to_download_is_the_chapter_with_the_lighter_figures(
    html: Path, chapter: str
) -> None:
    drawn = ROOT / "book" / f"{chapter}.ipynb"
    offered = html / "_sources/book" / drawn.name
    lighter = [
        (html / "_images" / f"{sha256(file).hexdigest()}.png").read_bytes()
        for file in website.pictures(drawn)
    ]
    assert website.pictures(offered) == lighter
    assert website.cells_without_pictures(offered) == website.cells_without_pictures(drawn)


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
