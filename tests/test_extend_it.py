"""The examples of the page *Extend it* run as they stand, one after the other."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from fmlib import caching, chapters, data
from fmlib.chapters import BOOK
from tests.toy import random_images, random_labels

TEXT = (BOOK / "extend_it.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
REGISTRIES: list[dict[Any, Any]] = [
    *(data.CLASS_NAMES, data.READERS, caching.HITS, chapters.CHAPTERS),
]


@pytest.fixture
def restored() -> Iterator[None]:
    """Takes out of the library what the examples add to it."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, content in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(content)


def test_examples_run_one_after_the_other(
    restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # As in a notebook, names stay from one example to the next.
    names: dict[str, Any] = {"__name__": "notebook"}
    for example in EXAMPLES:
        exec(compile(example, "extend_it.md", "exec"), names)
    shape, by_margin, by_loss, brightness = capsys.readouterr().out.splitlines()
    assert shape.startswith("(1, 16, 16) scikit-learn ")
    assert len(eval(by_margin)) == 2
    assert max(eval(by_loss)) > 50
    assert re.fullmatch(r"\d\d\.\d % of the images have the class .*", brightness)
    policy = names["SkipEasy"](6, limit=0.5)
    images, labels, index = random_images(6), random_labels(6), torch.arange(6)
    assert policy.keep(images, labels, index).all()
    policy.weigh(torch.tensor([0.1, 0.9, 0.5, 0.2, 0.7, 0.4]), index)
    kept = policy.keep(images, labels, index)
    assert kept.tolist() == [False, True, True, False, True, False]
    assert policy.keep(images, labels, index[:1]).tolist() == [True]  # left out once


def test_parameters_of_the_example_are_those_of_its_settings(restored: None) -> None:
    names: dict[str, Any] = {}
    for example in EXAMPLES[-4:-2]:
        exec(compile(example, "extend_it.md", "exec"), names)
    shown = re.findall(r"^(\w+): (\w+) = .*?  # (.*)$", EXAMPLES[-3], re.M)
    expected = chapters.parameters("brightness")
    assert shown == [(parameter.name, parameter.type, parameter.meaning) for parameter in expected]


@pytest.mark.parametrize(
    "place", re.findall(r"`(fmlib/[\w/]+(?:\.py)?/?|_toc\.yml|Makefile)`", TEXT)
)
def test_places_that_the_page_names_exist(place: str) -> None:
    assert (BOOK.parent / place).exists()
