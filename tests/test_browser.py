"""Every page as a reader meets it: in Chrome or Chromium, from disk, without a network."""

import io
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Locator

from tests import browsing
from tests.browsing import DESKTOP, PHONE, Scheme, Visit
from tests.website import PAGES, WRITTEN

pytestmark = [pytest.mark.slow, pytest.mark.pages]
if browsing.find_browser() is None:  # here, so that this is said once and not for each test
    pytest.skip(browsing.NO_BROWSER, allow_module_level=True)

CACHING = "book/02_caching.html"
MAX_WEIGHT = 3_000_000  # bytes of a page with all that it loads
MAX_SECONDS = 1.5
LOADS = 3  # tries, of which the first that is fast enough is the last

# The rules of WCAG 2.2 AA, good practice, and what axe-core is still trying out.
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]
# The ones about colours, which take long. They alone can find more on a dark page, and nothing more
# in a narrow window.
COLOR_RULES = ["color-contrast", "link-in-text-block"]

# Marks one element of each look: of those with text of their own that agree in their kind, letters,
# and in all that is painted behind them.
MARK_LOOKS = """() => {
    const seen = new Set();
    const ground = one => {
        const style = getComputedStyle(one);
        return [style.backgroundColor, style.backgroundImage, style.opacity].join();
    };
    for (const one of document.querySelectorAll('body *')) {
        if (!one.checkVisibility()) continue;
        if (![...one.childNodes].some(child => child.nodeType === 3 && child.data.trim())) continue;
        const {color, fontSize, fontWeight, textDecoration} = getComputedStyle(one);
        const look = [one.tagName, one.parentElement.tagName, color, fontSize, fontWeight,
            textDecoration, getComputedStyle(one.parentElement).color];
        for (let around = one; around; around = around.parentElement) look.push(ground(around));
        const known = [...new Set(look)].join(';');
        if (!seen.has(known)) one.dataset.look = '';
        seen.add(known);
    }
    return seen.size;
}"""

# Formulas: how many there are, and the ones that MathJax has not typeset, or not understood.
FORMULAS = """() => {
    const all = [...document.querySelectorAll('.math')];
    const lost = all.filter(one => {
        const drawn = one.querySelector('mjx-container');
        return !drawn?.getClientRects().length || !drawn.querySelector('math')
            || drawn.querySelector('mjx-merror, [mathcolor="red"]');  // red: an unknown command
    });
    return [all.length, lost.map(one => one.textContent)];
}"""

# Icons are characters of a font; one that is not drawn has no character.
LOST_ICONS = """() => [...document.querySelectorAll('.fa-solid, .fas, .fa-regular, .fab')]
    .filter(icon => icon.checkVisibility()
        && ['none', 'normal', '""'].includes(getComputedStyle(icon, '::before').content))
    .map(icon => icon.className)"""

# What sticks out of the window, save in a box that scrolls on its own.
STICKING_OUT = """() => [...document.querySelectorAll('article *')].filter(one => {
    const box = one.getBoundingClientRect();
    if (!one.checkVisibility() || !box.width || !box.height) return false;
    if (box.right <= innerWidth + 1) return false;
    for (let around = one; around; around = around.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(around).overflowX)
            && around.getBoundingClientRect().right <= innerWidth + 1) return false;
    return !one.closest('mjx-assistive-mml');
}).map(one => one.outerHTML.slice(0, 100))"""

# Boxes of which a part is out of sight, and that do not show it or are out of the keyboard's reach.
HIDING = """() => [...document.querySelectorAll('article *')]
    .filter(one => ['auto', 'scroll'].includes(getComputedStyle(one).overflowX)
        && one.checkVisibility() && one.scrollWidth > one.clientWidth + 1)
    .filter(one => one.tabIndex < 0 || !getComputedStyle(one).backgroundImage.includes('gradient')
        || getComputedStyle(one).scrollbarWidth !== 'thin')
    .map(one => one.outerHTML.slice(0, 100))"""

# Of each picture: its width on the page, the column's, its own width and height in pixels as drawn
# (twice those of the page), and its shape on the page.
PICTURES = """() => [...document.querySelectorAll('article img')].map(one => {
    const box = one.getBoundingClientRect();
    const column = one.closest('section, article').getBoundingClientRect();
    return {
        name: one.alt || one.src, left: box.left - column.left, right: column.right - box.right,
        scale: box.width / (one.naturalWidth / 2),
        stretch: (box.width / box.height) / (one.naturalWidth / one.naturalHeight),
    };
})"""


@pytest.fixture(scope="module", params=PAGES)
def visit(request: pytest.FixtureRequest, html: Path, browser: Browser) -> Iterator[Visit]:
    """A page, opened once for all tests of it; each test sets the window that it needs."""
    with browsing.visit(browser, html / request.param) as opened:
        opened.unfold()
        yield opened


Rules = Literal["colors", "others"]


def findings(visit: Visit, *which: Rules) -> list[str]:
    """What axe-core finds serious or critical on the page as it is now, by all rules or some."""
    return [one for rules in which or get_args(Rules) for one in violated(visit, rules)]


def violated(visit: Visit, rules: Rules) -> list[str]:
    """What breaks the rules about colours, asked for once for each look, or the others."""
    # Style sheets cannot be read again from disk, which one rule (about turned screens) would need.
    options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
    if rules == "colors":
        options["runOnly"] = COLOR_RULES
        assert visit.page.evaluate(MARK_LOOKS) > 0
        context: dict[str, Any] | None = {"include": [["[data-look]"]]}
    else:
        options["runOnly"] = AXE_TAGS
        options["rules"] = {rule: {"enabled": False} for rule in COLOR_RULES}
        context = None
    answer = Axe().run(visit.page, context=context, options=options).response
    violations = cast(list[dict[str, Any]], answer["violations"])
    serious = [found for found in violations if found["impact"] in ("serious", "critical")]
    places = [[node["target"] for node in found["nodes"]][:5] for found in serious]
    return [f"{found['id']} at {place}" for found, place in zip(serious, places, strict=True)]


def is_blank(picture: Locator) -> bool:
    """Whether a picture shows next to nothing: less than half a percent differs from the rest."""
    seen = Image.open(io.BytesIO(picture.screenshot())).convert("L")
    counts = seen.histogram()
    ground = counts.index(max(counts))
    drawn = sum(count for level, count in enumerate(counts) if abs(level - ground) > 48)
    return drawn < 0.005 * seen.width * seen.height


def test_page_opens_without_errors_and_failed_requests(visit: Visit) -> None:
    assert visit.problems == []


def test_page_asks_for_nothing_but_files(visit: Visit) -> None:
    assert len(visit.requests) > 10
    assert {urlsplit(address).scheme for address in visit.requests} <= {"file", "data", "blob"}


def test_page_is_light(visit: Visit) -> None:
    assert visit.weight < MAX_WEIGHT


def test_formulas_are_typeset(visit: Visit) -> None:
    count, lost = visit.page.evaluate(FORMULAS)
    assert lost == []
    if visit.page.url.endswith(CACHING):
        assert count >= 3


def test_icons_are_drawn(visit: Visit) -> None:
    assert visit.page.evaluate(LOST_ICONS) == []
    assert visit.page.evaluate("document.fonts.check('900 16px \"Font Awesome 6 Free\"')")


def test_pictures_are_loaded_and_not_blank(visit: Visit) -> None:
    visit.resize(DESKTOP)
    pictures = visit.page.locator("article img").all()
    assert [
        one.get_attribute("src") for one in pictures if not one.evaluate("one => one.naturalWidth")
    ] == []
    assert [one.get_attribute("src") for one in pictures if is_blank(one)] == []


def test_figures_are_readable_at_700_pixels(visit: Visit) -> None:
    visit.resize(700)
    for picture in visit.page.evaluate(PICTURES):
        assert picture["left"] >= -1, picture
        assert picture["right"] >= -1, picture
        assert 0.8 <= picture["scale"] <= 1.2, picture  # letters of 9 points stay above 7
        assert picture["stretch"] == pytest.approx(1, abs=0.01), picture


@pytest.mark.parametrize("width", [1200, PHONE])
def test_what_scrolls_sideways_shows_it(visit: Visit, width: int) -> None:
    visit.reopen(width, "light")
    visit.page.wait_for_timeout(100)
    assert visit.page.evaluate(HIDING) == []


def test_figures_are_readable_on_a_phone(visit: Visit) -> None:
    visit.resize(PHONE)
    for picture in visit.page.evaluate(PICTURES):
        assert picture["scale"] > 0.75, picture  # letters of 9 points stay above 6.5
        assert picture["stretch"] == pytest.approx(1, abs=0.01), picture


def test_page_fits_a_phone(visit: Visit) -> None:
    visit.resize(PHONE)
    assert visit.page.evaluate("document.scrollingElement.scrollWidth") <= PHONE
    assert visit.page.evaluate(STICKING_OUT) == []


@pytest.mark.parametrize(
    ("scheme", "width", "rules"),
    [
        ("light", DESKTOP, get_args(Rules)),
        ("dark", DESKTOP, ["colors"]),
        ("dark", PHONE, ["others"]),
    ],
)
def test_axe_finds_nothing_serious(
    visit: Visit, scheme: Scheme, width: int, rules: Sequence[Rules]
) -> None:
    visit.reopen(width, scheme)
    assert visit.page.evaluate("document.documentElement.dataset.theme") == scheme
    assert findings(visit, *rules) == []


def test_axe_is_not_blind(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><title>a</title><p>dark</p><p>dark</p><p style='color: #aaa'>pale</p>"
        "<p style='background: #333'>dark on dark</p><img src=''>"
    )
    with browsing.visit(browser, page) as opened:
        assert len(findings(opened)) >= 3
        colors, others = " ".join(findings(opened, "colors")), " ".join(findings(opened, "others"))
    for rule in ("color-contrast", "html-has-lang", "image-alt"):
        assert (rule in colors, rule in others) == (rule in COLOR_RULES, rule not in COLOR_RULES)
    assert ":nth-child(3)" in colors
    assert ":nth-child(4)" in colors


def seconds_to_load(browser: Browser, path: Path) -> float:
    """Time until a page stands with its formulas: as measured, or computed if that is less.

    While other programs compute, what is measured grows; what the browser's own processes have
    computed does not, and a machine that is free needs no more time than that.
    """
    session = browser.new_browser_cdp_session()
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto("about:blank")

    def computed() -> float:
        processes: list[dict[str, float]]
        processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
        return sum(process["cpuTime"] for process in processes)

    before = computed()
    page.goto(path.as_uri(), timeout=120_000)
    page.evaluate(browsing.SETTLED)
    measured = float(page.evaluate("performance.now()")) / 1000
    spent = computed() - before
    context.close()
    session.detach()
    return min(measured, spent)


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_fast(browser: Browser, html: Path, name: str) -> None:
    seconds: list[float] = []
    while len(seconds) < LOADS and not any(0.01 < one < MAX_SECONDS for one in seconds):
        seconds.append(seconds_to_load(browser, html / name))
    assert 0.01 < min(seconds) < MAX_SECONDS, seconds


def test_first_page_opens_the_book(browser: Browser, html: Path) -> None:
    with browsing.visit(browser, html / WRITTEN[0]) as opened:
        opened.page.goto((html / "index.html").as_uri())
        opened.page.wait_for_url(f"**/{WRITTEN[0]}")


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_search_finds_threshold_in_the_chapter_on_caching(
    browser: Browser, html: Path, width: int
) -> None:
    with browsing.visit(browser, html / WRITTEN[0], width) as opened:
        opened.page.locator(".search-button__button:visible").first.click()
        opened.page.locator("dialog[open] input[type=search]").fill("threshold")
        opened.page.keyboard.press("Enter")
        opened.page.wait_for_url("**/search.html?q=threshold")
        found = opened.page.locator("#search-results li a", has_text="Caching").first
        found.wait_for()
        assert findings(opened) == []
        found.click()
        opened.page.wait_for_url(f"**/{CACHING}*")
        assert "threshold" in opened.page.locator("article").inner_text()
        assert opened.problems == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_table_of_contents_leads_to_every_page(browser: Browser, html: Path, width: int) -> None:
    with browsing.visit(browser, html / WRITTEN[0], width) as opened:
        for before, name in pairwise(WRITTEN):
            if width == PHONE:
                opened.page.locator("button.primary-toggle:visible").click()
            opened.unfold()  # the pages of a part are below its first one
            address = os.path.relpath(name, Path(before).parent)
            opened.page.locator(f".bd-links:visible a[href='{address}']").click()
            opened.page.wait_for_url(f"**/{name}")
        assert opened.problems == []


@pytest.mark.parametrize(
    "button", ["button.primary-toggle", "button.secondary-toggle", ".search-button__button"]
)
def test_what_opens_on_a_phone_passes_axe(browser: Browser, html: Path, button: str) -> None:
    with browsing.visit(browser, html / CACHING, PHONE, "dark") as opened:
        opened.page.locator(f"{button}:visible").first.click()
        opened.page.locator("dialog[open]").wait_for()
        opened.unfold()
        assert findings(opened) == []
        assert opened.problems == []


def test_cross_reference_leads_to_its_figure(browser: Browser, html: Path) -> None:
    with browsing.visit(browser, html / CACHING) as opened:
        link = opened.page.locator("article a.reference.internal[href*='#fig-']").first
        place = str(link.get_attribute("href")).partition("#")[2]
        link.click()
        opened.page.wait_for_url(f"**#{place}")
        assert opened.page.locator(f"#{place}").bounding_box() is not None
        assert opened.problems == []
