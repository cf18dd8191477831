"""The published numbers agree with themselves, with the text, and with the authors' log."""

from decimal import ROUND_FLOOR, Decimal
from statistics import fmean, median

import pytest

from fmlib import published
from fmlib.published import FIG7, FIG8, FIG9, FIG10

SIZES = FIG8.batch_sizes


def log(batch_size: int, training: str) -> list[published.LogEpoch]:
    """The epochs of one logged run."""
    key = batch_size, training
    return [e for e in published.authors_log() if (e.batch_size, e.training) == key]


def test_figure_7_adds_up() -> None:
    assert [len(values) for values in FIG7] == [10] * 4
    assert FIG7.trained == tuple(60_000 - hits for hits in FIG7.hits)
    assert round(fmean(FIG7.hits)) == 20_373


def test_figure_8_has_a_value_for_each_batch_size() -> None:
    assert tuple(2**power for power in range(5, 13)) == SIZES
    assert [len(values) for values in FIG8] == [8] * 5


def test_accuracies_are_percentages() -> None:
    values = [*FIG7.plain_accuracy, *FIG7.cached_accuracy]
    values += [value for column in FIG8[1:] for value in column]
    values += [value for row in FIG9 for value in row[2:]]
    values += [value for row in FIG10 for value in row[1:]]
    assert len(values) == 20 + 32 + 12 + 4
    assert all(10 < value < 100 for value in values)


def test_figure_9_falls_on_mnist_and_rises_on_fashion_mnist() -> None:
    assert [(row.dataset, row.maps_test > row.base_test) for row in FIG9] == [
        ("mnist", False),
        ("mnist", False),
        ("fashion-mnist", True),
    ]
    assert all(row.maps_train < row.base_train for row in FIG9)


def test_figure_10_turns_its_sign() -> None:
    assert [(row.eps, row.maps > row.base) for row in FIG10] == [(0.15, False), (0.25, True)]


def test_figure_7_is_the_log_at_4096() -> None:
    plain, cached = log(4096, "plain"), log(4096, "cached")
    assert tuple(e.test_accuracy for e in plain) == FIG7.plain_accuracy
    assert tuple(e.test_accuracy for e in cached) == FIG7.cached_accuracy
    assert tuple(e.hits for e in cached) == FIG7.hits
    assert tuple(e.trained for e in cached) == FIG7.trained


@pytest.mark.parametrize("size", SIZES)
def test_log_has_ten_epochs_of_each_training(size: int) -> None:
    plain, cached = log(size, "plain"), log(size, "cached")
    assert [e.epoch for e in plain] == [e.epoch for e in cached] == list(range(1, 11))
    assert {(e.hits, e.trained) for e in plain} == {(None, None)}
    assert {(e.hits or 0) + (e.trained or 0) for e in cached} == {60_000}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("training", ["plain", "cached"])
@pytest.mark.parametrize("size", SIZES)
def test_figure_8_is_the_log_without_its_last_digits(size: int, training: str, split: str) -> None:
    printed = getattr(FIG8, f"{training}_{split}")[SIZES.index(size)]
    logged = getattr(published.authors_final()[size, training], f"{split}_accuracy")
    # One printed value has three decimals; all others are the log's digits cut after two.
    step = Decimal("0.001") if printed == 99.685 else Decimal("0.01")
    assert Decimal(str(printed)) == Decimal(str(logged)).quantize(step, ROUND_FLOOR)


@pytest.mark.parametrize("size", SIZES)
def test_cached_training_was_slower_in_the_log(size: int) -> None:
    seconds = {c: median(e.seconds for e in log(size, c)) for c in ("plain", "cached")}
    assert 1 < seconds["cached"] / seconds["plain"] < 1.5


def test_at_batch_32_most_cached_epochs_skipped_nothing() -> None:
    assert sum(e.hits == 0 for e in log(32, "cached")) == 6
    assert all(e.hits for size in SIZES[3:] for e in log(size, "cached"))
