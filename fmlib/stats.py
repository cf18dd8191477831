"""Statistics of repeated and of paired results: pure functions of numbers."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, bootstrap, t

RESAMPLES = 9999


class Estimate(NamedTuple):
    """A mean, its 95 % interval, and how many values it is the mean of.

    The interval is NaN for fewer than two values.  `effect` is, for paired differences, their
    mean over their standard deviation (Cohen's d_z); NaN otherwise, and where they are equal.
    `median` is that of the values; NaN for shares.
    """

    mean: float
    low: float
    high: float
    n: int
    effect: float = math.nan
    median: float = math.nan

    @property
    def negated(self) -> "Estimate":
        """The estimate of the negated numbers."""
        return Estimate(-self.mean, -self.high, -self.low, self.n, -self.effect, -self.median)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % bootstrap interval of values, at least one (Efron 1987: BCa).

    The resamples are seeded and the values' order does not matter, so that the same values
    always give the same digits.  With few values such intervals are too narrow: drawn from a
    normal distribution, some 70 % hold the true mean of n = 3, 85 % of n = 5, 91 % of n = 10.
    """
    if not values:
        raise ValueError("values is empty; give at least one number")
    ordered = sorted(values)
    mean = fmean(ordered)
    if len(ordered) == 1:
        return Estimate(mean, math.nan, math.nan, 1, median=mean)
    if mean < 0:  # so that a difference and its negative have the same interval
        return estimate([-value for value in values]).negated
    if ordered[0] == ordered[-1]:
        return Estimate(mean, mean, mean, len(ordered), median=mean)
    found = bootstrap(
        (ordered,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    low, high = float(found.low), float(found.high)
    return Estimate(mean, low, high, len(ordered), median=median(ordered))


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate | None:
    """Estimate of first - second over the keys (seeds) that both have; None if there are none."""
    differences = [first[key] - second[key] for key in sorted(first.keys() & second.keys())]
    if not differences:
        return None
    found = estimate(differences)
    spread = stdev(differences) if len(differences) > 1 else 0.0
    return found._replace(effect=found.mean / spread if spread else math.nan)


def share(count: int, n: int) -> Estimate:
    """Share in [0, 1] of n trials that came out in one way, with Wilson's 95 % interval (1927)."""
    if not 0 <= count <= n or n < 1:
        raise ValueError(f"count is {count} of n = {n}; give 0 to n of at least one trial")
    interval = binomtest(count, n).proportion_ci(method="wilson")
    return Estimate(count / n, float(interval.low), float(interval.high), n)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test (McNemar 1947): are two models right equally often?

    Args:
        only_first: images that the first model alone gets right, at least 0.
        only_second: images that the second model alone gets right, at least 0.

    Returns:
        The probability, if each such image were either model's with 1/2, of counts at least
        as unequal; 1 if there is no such image.  It speaks of this pair of models only.
    """
    for name, count in (("only_first", only_first), ("only_second", only_second)):
        if count < 0:
            raise ValueError(f"{name} is {count}; give a number of images from 0")
    total = only_first + only_second
    return float(binomtest(only_first, total).pvalue) if total else 1.0


def prediction_interval(values: Sequence[float], level: float = 0.999) -> tuple[float, float]:
    """Where one further value lies with probability `level`, by Student's t.

    The values and the further one are taken for independent draws from one normal
    distribution: mean -+ t s sqrt(1 + 1/n), with n - 1 degrees of freedom.

    Args:
        values: at least two.
        level: between 0 and 1.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"an interval needs at least two values, not {n}")
    half = float(t.ppf((1 + level) / 2, n - 1)) * stdev(values) * math.sqrt(1 + 1 / n)
    return fmean(values) - half, fmean(values) + half


def difference_limit(differences: Sequence[float], level: float = 0.999) -> float:
    """What one further difference stays below in size with probability `level`.

    The differences are taken for independent draws from one normal distribution around 0:
    t times their root mean square, with as many degrees of freedom as differences (at least 1).
    """
    n = len(differences)
    if n < 1:
        raise ValueError("a limit needs at least one difference")
    rms = math.sqrt(fmean(d * d for d in differences))
    return float(t.ppf((1 + level) / 2, n)) * rms
