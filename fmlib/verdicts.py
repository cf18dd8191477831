"""Verdicts on a claim and the rules that give them: pure functions of estimates.

A rule looks at intervals, never at means alone: what an interval does not settle stays open.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from fmlib.stats import Estimate


class Verdict(StrEnum):
    """What the records say of a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTABLE = "not testable here"


Sign = Literal["above", "below", "unclear"]


def sign(found: Estimate | None, bound: float = 0.0) -> Sign:
    """On which side of a bound the whole interval lies; unclear with fewer than three values."""
    if found is None or found.n < 3:
        return "unclear"
    return "above" if found.low > bound else "below" if found.high < bound else "unclear"


def holds(found: Estimate | None, bound: float = 0.0) -> Verdict:
    """Reproduced if the interval lies above the bound, not reproduced if below it."""
    known = {"above": Verdict.REPRODUCED, "below": Verdict.NOT_REPRODUCED}
    return known.get(sign(found, bound), Verdict.INCONCLUSIVE)


def beyond(effect: Estimate | None, over_control: Estimate | None, bound: float = 0.0) -> Verdict:
    """As `holds` for the effect, but only partly unless it exceeds that of the control too."""
    verdict = holds(effect, bound)
    if verdict == Verdict.REPRODUCED and sign(over_control) != "above":
        return Verdict.PARTLY
    return verdict


def within(found: Estimate | None, low: float, high: float) -> Verdict:
    """Reproduced if the interval lies between two bounds, not reproduced if outside of them."""
    if sign(found, high) == "above" or sign(found, low) == "below":
        return Verdict.NOT_REPRODUCED
    inside = sign(found, low) == "above" and sign(found, high) == "below"
    return Verdict.REPRODUCED if inside else Verdict.INCONCLUSIVE


def fewer(found: Estimate | None, than: Estimate | None) -> Verdict:
    """Of shares: reproduced if surely smaller than another one, not reproduced if no smaller.

    Surely: their intervals do not overlap.
    """
    if found is None or than is None or min(found.n, than.n) < 3 or than.mean == 0:
        return Verdict.INCONCLUSIVE
    if found.mean >= than.mean:
        return Verdict.NOT_REPRODUCED
    return Verdict.REPRODUCED if found.high < than.low else Verdict.INCONCLUSIVE


def in_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Of one claim in several cases: reproduced in all, in some (partly), or in none."""
    found = set(verdicts)
    if found <= {Verdict.REPRODUCED}:
        return Verdict.REPRODUCED if found else Verdict.INCONCLUSIVE
    if found & {Verdict.REPRODUCED, Verdict.PARTLY}:
        return Verdict.PARTLY
    return Verdict.NOT_REPRODUCED if Verdict.NOT_REPRODUCED in found else Verdict.INCONCLUSIVE


def in_any(verdicts: Sequence[Verdict]) -> Verdict:
    """Of one claim that some case is to show: reproduced if one does, not if none can."""
    for verdict in (Verdict.REPRODUCED, Verdict.PARTLY, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.NOT_REPRODUCED if verdicts else Verdict.INCONCLUSIVE
