"""The published numbers agree with themselves, with the text, and with the authors' log."""

from decimal import ROUND_FLOOR, Decimal

import pandas as pd
import pytest

from fmlib import published
from fmlib.published import FIG7, FIG8, FIG9, FIG10, PUNJABI_TABLE1, PUNJABI_TABLE2

SIZES = FIG8.index.tolist()


def log(batch_size: int, training: str) -> pd.DataFrame:
    """The epochs of one logged run."""
    log = published.authors_log()
    return log[(log["batch_size"] == batch_size) & (log["training"] == training)]


def test_figure_7_adds_up() -> None:
    assert FIG7.index.tolist() == list(range(1, 11))
    assert FIG7["trained"].tolist() == [60_000 - hits for hits in FIG7["hits"]]
    assert round(FIG7["hits"].mean()) == 20_373


def test_figure_8_has_a_value_for_each_batch_size() -> None:
    assert [2**power for power in range(5, 13)] == SIZES
    assert FIG8.shape == (8, 4)
    assert FIG8.notna().all(axis=None)


def test_accuracies_are_percentages() -> None:
    values = [*FIG7["plain"], *FIG7["cached"]]
    values += [*FIG8.to_numpy().flat, *FIG10.to_numpy().flat]
    values += [value for row in FIG9 for value in (*row.base, *row.maps)]
    assert len(values) == 20 + 32 + 12 + 4
    assert all(10 < value < 100 for value in values)


def test_figure_9_falls_on_mnist_and_rises_on_fashion_mnist() -> None:
    assert [(row.dataset, row.maps.test > row.base.test) for row in FIG9] == [
        ("mnist", False),
        ("mnist", False),
        ("fashion-mnist", True),
    ]
    assert all(row.maps.train < row.base.train for row in FIG9)


def test_figure_10_turns_its_sign() -> None:
    assert (FIG10["maps"] > FIG10["base"]).to_dict() == {0.15: False, 0.25: True}


def test_figure_7_is_the_log_at_4096() -> None:
    plain, cached = log(4096, "plain"), log(4096, "cached")
    assert plain["test_accuracy"].tolist() == FIG7["plain"].tolist()
    assert cached["test_accuracy"].tolist() == FIG7["cached"].tolist()
    assert cached["hits"].tolist() == FIG7["hits"].tolist()
    assert cached["trained"].tolist() == FIG7["trained"].tolist()


@pytest.mark.parametrize("size", SIZES)
def test_log_has_ten_epochs_of_each_training(size: int) -> None:
    plain, cached = log(size, "plain"), log(size, "cached")
    assert plain["epoch"].tolist() == cached["epoch"].tolist() == list(range(1, 11))
    assert plain[["hits", "trained"]].isna().all(axis=None)
    assert set(cached["hits"] + cached["trained"]) == {60_000}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("training", ["plain", "cached"])
@pytest.mark.parametrize("size", SIZES)
def test_figure_8_is_the_log_without_its_last_digits(size: int, training: str, split: str) -> None:
    printed = FIG8.loc[size, f"{training}_{split}"]
    logged = published.authors_final().loc[(size, training), f"final_{split}"]
    # One printed value has three decimals; all others are the log's digits cut after two.
    step = Decimal("0.001") if printed == 99.685 else Decimal("0.01")
    assert Decimal(str(printed)) == Decimal(str(logged)).quantize(step, ROUND_FLOOR)


@pytest.mark.parametrize("size", SIZES)
def test_cached_training_was_slower_in_the_log(size: int) -> None:
    plain, cached = (log(size, c)["seconds"].median() for c in ("plain", "cached"))
    assert 1 < cached / plain < 1.5


def test_at_batch_32_most_cached_epochs_skipped_nothing() -> None:
    assert (log(32, "cached")["hits"] == 0).sum() == 6
    assert all((log(size, "cached")["hits"] > 0).all() for size in SIZES[3:])


def test_only_epochs_after_which_the_accuracy_had_risen_are_printed() -> None:
    """But for the last one of the pretrained network, which shows that it overfits."""
    scratch, pretrained = list(PUNJABI_TABLE1.values()), list(PUNJABI_TABLE2.values())
    assert scratch == sorted(set(scratch))
    assert pretrained[:-1] == sorted(pretrained[:-1])
    assert pretrained[-1] == scratch[-1] == 93
    for table in (PUNJABI_TABLE1, PUNJABI_TABLE2):
        assert list(table) == sorted(table)
        assert all(50 < value < 100 for value in table.values())


def test_pretrained_is_ahead_from_the_second_epoch_on() -> None:
    assert [PUNJABI_TABLE2[epoch] > PUNJABI_TABLE1[epoch] for epoch in (1, 2, 6, 8)] == [
        *(False, True, True, True),
    ]
    assert max(PUNJABI_TABLE2.values()) - max(PUNJABI_TABLE1.values()) == 3
