"""Rules on both sides of their bounds."""

from math import nan

import pytest

from fmlib.stats import Estimate
from fmlib.verdicts import Verdict, beyond, fewer, holds, in_all, in_any, sign, within

R, P, N = Verdict.REPRODUCED, Verdict.PARTLY, Verdict.NOT_REPRODUCED
U = Verdict.INCONCLUSIVE
UP, DOWN, BOTH = Estimate(2, 1, 3, 5), Estimate(-2, -3, -1, 5), Estimate(0.5, -1, 2, 5)


def test_sign_needs_the_whole_interval_on_one_side() -> None:
    assert [sign(found) for found in (UP, DOWN, BOTH, None)] == [
        "above", "below", "unclear", "unclear",
    ]  # fmt: skip
    assert sign(Estimate(1, 0, 2, 5)) == "unclear"
    assert sign(Estimate(1, 1e-9, 2, 5)) == "above"
    assert sign(UP, bound=1.5) == "unclear"


@pytest.mark.parametrize(("n", "expected"), [(1, "unclear"), (2, "unclear"), (3, "above")])
def test_no_verdict_on_fewer_than_three_values(n: int, expected: str) -> None:
    assert sign(Estimate(2, 1 if n > 1 else nan, 3 if n > 1 else nan, n)) == expected


def test_holds() -> None:
    assert [holds(found) for found in (UP, BOTH, DOWN, None)] == [R, U, N, U]


def test_an_effect_that_the_control_has_too_is_only_partly_reproduced() -> None:
    assert beyond(UP, UP) == R
    assert [beyond(UP, over) for over in (BOTH, DOWN, None)] == [P, P, P]
    assert [beyond(effect, UP) for effect in (BOTH, DOWN, None)] == [U, N, U]
    assert beyond(BOTH, UP, bound=-1.5) == R


def test_within() -> None:
    assert within(Estimate(10, 9.1, 10.9, 5), 9, 11) == R
    assert within(Estimate(10, 8.9, 10.9, 5), 9, 11) == U
    assert within(Estimate(12, 11.1, 13, 5), 9, 11) == N
    assert within(Estimate(8, 7, 8.9, 5), 9, 11) == N
    assert within(None, 9, 11) == U


def test_fewer() -> None:
    none, few, many = Estimate(0, 0, 0.2, 5), Estimate(0.2, 0.1, 0.4, 5), Estimate(0.8, 0.4, 1, 5)
    assert fewer(none, many) == R
    assert fewer(few, many._replace(low=0.41)) == R
    assert fewer(few, many) == U
    assert fewer(few, few) == fewer(many, few) == N
    assert fewer(none, none) == U
    assert fewer(none, None) == fewer(None, many) == U
    assert fewer(none._replace(n=2), many) == U


def test_several_cases() -> None:
    assert in_all([R, R]) == R
    assert [in_all([R, other]) for other in (P, N, U)] == [P, P, P]
    assert in_all([N, U]) == N
    assert in_all([U, U]) == in_all([]) == U
    assert in_any([N, R]) == R
    assert in_any([N, P, U]) == P
    assert in_any([N, U]) == U
    assert in_any([N, N]) == N
    assert in_any([]) == U
