"""Statistics: by hand, and against sums of binomial probabilities."""

import math

import numpy as np
import pytest

from fmlib import stats


@pytest.mark.parametrize(
    ("only_first", "only_second", "expected"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (1, 0, 1.0),  # heads or tails, one throw: any result is this unequal
        (5, 0, 2 / 32),  # all heads or all tails of five throws
        (1, 3, 10 / 16),  # 0, 1, 3 or 4 heads of four throws: 1 + 4 + 4 + 1 of 16
        (0, 10, 2 / 1024),
    ],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, expected: float) -> None:
    assert stats.mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("total", [1, 7, 20, 101])
def test_mcnemar_is_twice_the_smaller_tail(total: int) -> None:
    for few in range((total + 1) // 2):
        tail = sum(math.comb(total, k) for k in range(few + 1)) / 2**total
        expected = pytest.approx(min(1.0, 2 * tail), rel=1e-9)
        assert stats.mcnemar(few, total - few) == expected
        assert stats.mcnemar(total - few, few) == expected


@pytest.mark.parametrize(("counts", "name"), [((-1, 2), "only_first"), ((2, -1), "only_second")])
def test_negative_counts_are_refused(counts: tuple[int, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is -1; give a number of images from 0"):
        stats.mcnemar(*counts)


# Student's t: the value that is exceeded with probability 0.0005, by degrees of freedom, as printed
# in tables.
T = {1: 636.619, 2: 31.599, 3: 12.924, 4: 8.610, 9: 4.781}


@pytest.mark.parametrize(
    ("values", "mean", "deviation"),
    [
        ([1.0, 3.0], 2, math.sqrt(2)),
        ([90.0, 92.0, 94.0], 92, 2),
        ([2.0, 2.0, 2.0, 2.0], 2, 0),
        ([0.0, 1.0, 2.0, 3.0, 4.0], 2, math.sqrt(2.5)),
    ],
)
def test_prediction_interval_by_hand(values: list[float], mean: float, deviation: float) -> None:
    n = len(values)
    half = T[n - 1] * deviation * math.sqrt((n + 1) / n)
    expected = pytest.approx((mean - half, mean + half), rel=1e-4)
    assert stats.prediction_interval(values) == expected


def test_prediction_interval_holds_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    hits = 0
    for values in draw.normal(5, 3, (4000, 6)):
        low, high = stats.prediction_interval(values[:5], level=0.9)
        hits += low <= values[5] <= high
    assert hits / 4000 == pytest.approx(0.9, abs=4 * math.sqrt(0.9 * 0.1 / 4000))


@pytest.mark.parametrize(
    ("differences", "size"),
    [([3.0], 3), ([1.0, -1.0], 1), ([3.0, 4.0, 0.0, 0.0], 2.5), ([0.0, 0.0], 0)],
)
def test_difference_limit_by_hand(differences: list[float], size: float) -> None:
    expected = pytest.approx(T[len(differences)] * size, rel=1e-4)
    assert stats.difference_limit(differences) == expected


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two values, not 1"):
        stats.prediction_interval([1.0])
    with pytest.raises(ValueError, match="at least one difference"):
        stats.difference_limit([])
