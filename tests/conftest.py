"""What several test files share: the built book, and a browser."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from filelock import FileLock
from playwright.sync_api import Browser

from tests import browsing, website


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    """Close what a test has drawn, so that the next one finds no figure."""
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of the pages, built without a warning from the committed book.

    It is built once, also where the tests run in several processes: the first one builds it.
    """
    own = tmp_path_factory.getbasetemp()
    source = (own if worker_id == "master" else own.parent) / "source"
    with FileLock(f"{source}.lock"):
        if not source.exists():
            website.copy_book(source, "results")
            website.build(source, "-W", "--keep-going")
    return website.html(source)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chrome or Chromium without a window.

    It ends with the module, since notebooks are not run beside the event loop that it needs.
    """
    program = browsing.find_browser()
    if program is None:
        pytest.skip(browsing.NO_BROWSER)
    with browsing.start(program) as started:
        yield started
