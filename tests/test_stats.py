"""Statistics: by hand, and against sums of binomial probabilities."""

import math

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
