"""What several test files share: the built book, and a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests import browsing, website


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages, built once, without a warning, from the committed book."""
    source = tmp_path_factory.mktemp("source")
    website.copy_book(source, "results")
    return website.build(source, "-W", "--keep-going")[0]


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
