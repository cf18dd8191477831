"""What several test files share: the built book."""

from pathlib import Path

import pytest

from tests import website


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages, built once, without a warning, from the committed book."""
    source = tmp_path_factory.mktemp("source")
    website.copy_book(source, "results")
    return website.build(source, "-W", "--keep-going")[0]
