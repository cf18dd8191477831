"""Interactive figures as a reader meets them: sliders, keys, the pointer, and no script at all."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Locator, expect

from fmlib import interactive
from fmlib.experiments.exploration import Embedding
from tests import browsing, results, website
from tests.browsing import DESKTOP, PHONE, Scheme, Visit
from tests.test_browser import STICKING_OUT, findings

pytestmark = [pytest.mark.slow, pytest.mark.pages]
if browsing.find_browser() is None:
    pytest.skip(browsing.NO_BROWSER, allow_module_level=True)

HOSTILE = ("</script><img src=x onerror=alert(1)>", "$x$ `b` [c](javascript:d)")
SIZES, CACHE, MAP = "fig-sizes", "fig-cache", "fig-map"


def payloads() -> dict[str, interactive.Payload]:
    """Data of each kind by its figure: three images, two epochs, four points of a cross."""
    points = np.array([[0.0, 0.0], [9.0, 1.0], [-9.0, 2.0], [1.0, 8.0]])
    crossed = Embedding(points, torch.tensor([0, 1, 0, 1]), 50.0)
    named = torch.tensor([0, 1, 1, 1])
    images = torch.arange(4, dtype=torch.float64).reshape(4, 1, 1, 1).expand(4, 1, 4, 4) / 3
    return {
        SIZES: interactive.perturbations(results.sweep(), HOSTILE),
        CACHE: interactive.cache_by_epoch(results.cached_run(), HOSTILE),
        MAP: interactive.image_map(crossed, images, named, HOSTILE),
    }


def cell(name: str, payload: interactive.Payload, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cell that has shown a figure with its data."""
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(interactive, "display", lambda data, **how: shown.append(data))
    plt.figure(figsize=(7, 2), dpi=100).add_subplot().plot([0, 1])
    interactive.show(payload)
    figure = {"name": name, "caption": f"What {name} shows."}
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {"mystnb": {"figure": figure, "image": {"alt": "A line that rises."}}},
        "source": "interactive.show(...)",
        "execution_count": 1,
        "outputs": [{"output_type": "display_data", "data": shown[0], "metadata": {}}],
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with one figure of each kind, in a book of its own; classes are named like markup."""
    source = tmp_path_factory.mktemp("figures")
    website.copy_book(source)
    plt.switch_backend("Agg")
    with pytest.MonkeyPatch.context() as patch:
        cells = [cell(name, payload, patch) for name, payload in payloads().items()]
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Figures"}
    notebook: dict[str, Any] = {"cells": [title, *cells], "nbformat": 4, "nbformat_minor": 5}
    notebook["metadata"] = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    (source / "book" / "figures.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    toc = "format: jb-book\nroot: book/figures\nchapters:\n- file: book/intro\n"
    (source / "_toc.yml").write_text(toc, encoding="utf-8")
    html, warnings = website.build(source)
    assert "figures.ipynb" not in warnings
    return html / "book" / "figures.html"


@pytest.fixture
def visit(page: Path, browser: Browser) -> Iterator[Visit]:
    """The page, opened anew."""
    with browsing.visit(browser, page) as opened:
        yield opened
        assert opened.problems == []


def report(visit: Visit, figure: str) -> Locator:
    """The sentence that says what a figure shows."""
    return visit.page.locator(f"#{figure} [role=status]")


def levels(canvas: Locator) -> list[int]:
    """The red parts of a canvas's pixels."""
    found: list[int] = canvas.evaluate(
        """one => [...one.getContext("2d").getImageData(0, 0, one.width, one.height).data]
            .filter((_, place) => place % 4 === 0)"""
    )
    return found


# --- what all of them share ----------------------------------------------------------------


def test_only_pages_with_such_figures_load_the_script(page: Path) -> None:
    assert "interactive.js" in page.read_text(encoding="utf-8")
    assert "interactive.js" not in (page.parent / "intro.html").read_text(encoding="utf-8")


def test_names_that_look_like_markup_are_text(visit: Visit) -> None:
    assert visit.page.locator("[onerror], img[src=x], article a[href^=javascript]").count() == 0
    for figure in (CACHE, MAP):
        assert visit.page.locator(f"#{figure}").get_by_text(HOSTILE[0]).count() > 0
    assert visit.page.locator("mjx-container").count() == 0


def test_the_picture_stays_folded_up_below_the_controls(visit: Visit) -> None:
    for figure in payloads():
        picture = visit.page.locator(f"#{figure} img")
        assert not picture.is_visible()
        visit.page.locator(f"#{figure} summary").click()
        assert picture.is_visible()
        assert picture.get_attribute("alt") == "A line that rises."


def test_the_printed_page_has_the_pictures(visit: Visit) -> None:
    visit.page.emulate_media(media="print")
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert visit.page.locator(".fm-interactive:visible").count() == 0
    assert visit.page.locator("figure img:visible").count() == 3


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", DESKTOP), ("dark", DESKTOP), ("dark", PHONE)]
)
def test_axe_finds_nothing_serious(
    page: Path, browser: Browser, scheme: Scheme, width: int
) -> None:
    with browsing.visit(browser, page, width, scheme) as opened:
        assert findings(opened) == []
        opened.unfold()
        assert findings(opened) == []


def test_figures_fit_a_phone(visit: Visit) -> None:
    visit.resize(PHONE)
    assert visit.page.evaluate("document.scrollingElement.scrollWidth") <= PHONE
    assert visit.page.evaluate(STICKING_OUT) == []


def test_without_scripts_the_pictures_stand_there(page: Path, browser: Browser) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    opened = context.new_page()
    opened.goto(page.as_uri())
    for figure in payloads():
        assert opened.locator(f"#{figure} img").is_visible()
        assert opened.locator(f"#{figure} figcaption").is_visible()
    assert opened.locator(".fm-interactive").count() == 0
    assert "interactive.show" not in opened.locator("article figure").first.inner_text()
    context.close()


# --- a perturbation of any size -------------------------------------------------------------


def test_keys_on_the_slider_change_picture_and_verdicts(visit: Visit) -> None:
    slider = visit.page.locator(f"#{SIZES} input[type=range]")
    assert slider.get_attribute("aria-valuetext") == "ε = 0.10"
    expect(report(visit, SIZES)).to_contain_text("base model sees")
    assert report(visit, SIZES).inner_text().count("right") == 2
    before = levels(visit.page.locator(f"#{SIZES} canvas[aria-label^='the image perturbed']"))
    slider.focus()
    visit.page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "ε = 0.20"
    said = report(visit, SIZES).inner_text()
    assert "ε = 0.20 by the gradient of the base model: base model sees" in said
    assert "(50 %), wrong; map model sees" in said
    assert said.endswith("(50 %), right.")
    after = levels(visit.page.locator(f"#{SIZES} canvas[aria-label$='0.20']"))
    assert [b - a for a, b in zip(before, after, strict=True)] == pytest.approx([25.5] * 16, abs=1)


def test_the_pictures_are_pixels_plus_eps_times_signs(visit: Visit) -> None:
    visit.page.locator(f"#{SIZES} input[type=range]").press("End")
    pictures = visit.page.locator(f"#{SIZES} .fm-picture").all()
    image, change, both = (levels(picture) for picture in pictures)
    assert image == [round(255 * k / 47) for k in range(16)]
    assert change == [179] * 16  # 127.5 + 51
    assert both == [level + 51 for level in image]


def test_another_gradient_and_another_image_can_be_chosen(visit: Visit) -> None:
    visit.page.locator(f"#{SIZES} input[type=range]").press("End")
    visit.page.locator(f"#{SIZES} select").select_option("map model")
    said = report(visit, SIZES).inner_text()
    assert "by the gradient of the map model" in said
    assert said.count("right") == 2
    assert f"Class {HOSTILE[0]}" in said
    visit.page.locator(f"#{SIZES} input[type=radio]").first.focus()
    visit.page.keyboard.press("ArrowRight")
    assert f"Class {HOSTILE[1]}" in report(visit, SIZES).inner_text()


# --- the cache by epoch ----------------------------------------------------------------------


def test_keys_on_the_slider_change_the_epoch(visit: Visit) -> None:
    slider = visit.page.locator(f"#{CACHE} input[type=range]")
    cells = visit.page.locator(f"#{CACHE} tbody tr").first.locator("td")
    assert slider.get_attribute("aria-valuetext") == "epoch 1 of 2"
    assert cells.all_inner_texts() == ["0.2500", "0.9900", "", "30 of 60"]
    assert "skips 30 of 100 images" in report(visit, CACHE).inner_text()
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "epoch 2 of 2"
    assert cells.all_inner_texts() == ["0.7500", "0.9990", "", "30 of 60"]
    last = visit.page.locator(f"#{CACHE} tbody tr").last
    assert last.locator("td").all_inner_texts() == ["–", "–", "", "0 of 40"]
    assert last.locator(".fm-dot").is_hidden()


# --- images in the plane -----------------------------------------------------------------------


def test_arrow_keys_lead_from_image_to_image(visit: Visit) -> None:
    area = visit.page.locator(f"#{MAP} [role=application]")
    said = report(visit, MAP)
    expect(said).to_contain_text("Image 1 of 4")
    way = ("Right", 2), ("Left", 1), ("Left", 3), ("Left", 3), ("Right", 1), ("Up", 4), ("Down", 1)
    for key, number in way:
        area.press(f"Arrow{key}")
        expect(said).to_contain_text(f"Image {number} of 4")
        [level] = set(levels(visit.page.locator(f"#{MAP} .fm-picture")))
        assert level == 85 * (number - 1)


def test_pointing_at_an_image_shows_it(visit: Visit) -> None:
    expect(report(visit, MAP)).to_contain_text("Image 1 of 4")
    area = visit.page.locator(f"#{MAP} [role=application]")
    area.scroll_into_view_if_needed()
    box = area.locator("canvas").bounding_box()
    assert box is not None
    visit.page.mouse.move(box["x"] + 0.98 * box["width"], box["y"] + box["height"] * 0.66)
    expect(report(visit, MAP)).to_contain_text("Image 2 of 4")
    visit.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.1 * box["height"])
    expect(report(visit, MAP)).to_contain_text("Image 2 of 4")  # nothing is near


def test_strangers_are_found(visit: Visit) -> None:
    expect(report(visit, MAP)).to_contain_text("and its neighbours agree")
    visit.page.get_by_role("button", name="Next among strangers").press("Enter")
    said = report(visit, MAP).inner_text()
    assert said == f"Image 3 of 4: class {HOSTILE[0]}, but by its neighbours class {HOSTILE[1]}."


def test_one_class_can_be_brought_out(visit: Visit) -> None:
    expect(report(visit, MAP)).to_contain_text("Image 1")
    drawn = visit.page.locator(f"#{MAP} [role=application] canvas")
    count = """one => [...one.getContext("2d").getImageData(0, 0, one.width, one.height).data]
        .filter((level, place) => place % 4 === 3 && level > 128).length"""
    all_classes = drawn.evaluate(count)
    visit.page.locator(f"#{MAP} select").select_option(HOSTILE[0])
    assert drawn.evaluate(count) == pytest.approx(all_classes / 2, rel=0.1)


# --- the book's own ------------------------------------------------------------------------------


def test_the_chapters_figures_answer(html: Path, browser: Browser) -> None:
    for name in website.WRITTEN:
        text = (html / name).read_text(encoding="utf-8")
        with browsing.visit(browser, html / name) as opened:
            for script in opened.page.locator("script[data-figure]").all():
                figure = opened.page.locator(f"#{script.get_attribute('data-figure')}")
                expect(figure.locator("[role=status]")).not_to_be_empty()
                assert len(script.text_content() or "") < 300_000
            assert ("data-figure" in text) == ("interactive.js" in text)
            assert opened.problems == []
