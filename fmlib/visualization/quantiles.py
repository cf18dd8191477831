"""Upper quantiles of many numbers that come a few at a time, in memory that does not grow.

A histogram of fixed size for each unit, over a range that doubles when a number lies beyond it:
two bins then become one.  The ranges are powers of two and the bins halves of each other, so that
no count is ever split and the order in which numbers come makes no difference.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 2**14
LEAST = -1000
"""The narrowest range, as a power of two; a unit of which only zeros have been seen has it.

Numbers that are smaller still fall into its two bins about zero.
"""


class Thresholds(NamedTuple):
    """Levels that a given share of each unit's numbers reaches, at most; each (units,).

    The exact level, the least that no more than this share of the numbers reaches, lies at most
    `width` below the value, or is the value.

    Attributes:
        values: the levels.
        above: shares of the numbers that reach them, exactly counted.
        width: of the bins; at most 4 / bins of a unit's largest absolute number, or of 2^-1001
            where that is smaller.
    """

    values: Tensor
    above: Tensor
    width: Tensor


class StreamingQuantiles:
    """Counts of each unit's numbers in bins, from which upper quantiles are read.

    Args:
        units: how many units there are.
        bins: of each unit, a power of two from 4; they decide memory (8 bytes each) and precision.

    Raises:
        ValueError: no units, or another number of bins.
    """

    def __init__(self, units: int, bins: int = BINS) -> None:
        if units < 1 or bins < 4 or bins.bit_count() != 1:
            raise ValueError(
                f"units is {units} and bins {bins}; give at least 1 unit and a power of two from 4"
            )
        self._counts = torch.zeros(units, bins, dtype=torch.long)
        self._exponent = torch.full((units,), LEAST)
        self.seen = 0

    @property
    def width(self) -> Tensor:
        """Width of each unit's bins, (units,) in float64."""
        return (
            torch.ldexp(torch.full_like(self._exponent, 2, dtype=torch.float64), self._exponent)
            / self._bins
        )

    @property
    def _bins(self) -> int:
        return self._counts.shape[1]

    def add(self, values: Tensor) -> None:
        """Count numbers (units, n), of any type.

        Raises:
            ValueError: another number of units, NaN or infinite numbers.
        """
        units = len(self._counts)
        if values.dim() != 2 or len(values) != units:
            raise ValueError(f"values have the shape {tuple(values.shape)}; give ({units}, n)")
        if not values.isfinite().all():
            raise ValueError("values contain NaN or infinite numbers; give finite ones")
        if values.shape[1] == 0:
            return
        values = values.detach().to("cpu", torch.float64)
        largest = values.abs().amax(dim=1)
        self._reach(torch.where(largest > 0, torch.frexp(largest).exponent, LEAST))
        bins = (values / self.width[:, None]).floor().long() + self._bins // 2  # (units, n)
        bins += self._bins * torch.arange(units)[:, None]
        self._counts += bins.flatten().bincount(minlength=self._counts.numel()).view(units, -1)
        self.seen += values.shape[1]

    def _reach(self, exponent: Tensor) -> None:
        """Widen the ranges to -2^exponent to 2^exponent, where they are narrower."""
        grown = (exponent - self._exponent).clamp_min(0)
        if not grown.any():
            return
        half = self._bins // 2
        old = torch.arange(-half, half)
        new = old >> grown.clamp_max(62)[:, None]  # (units, bins), floor of old / 2^grown
        self._counts = torch.zeros_like(self._counts).scatter_add_(1, new + half, self._counts)
        self._exponent = torch.maximum(self._exponent, exponent)

    def upper(self, share: float) -> Thresholds:
        """Levels that at most this share of the numbers reaches (is equal to or above).

        Args:
            share: between 0 and 1, such as 0.005 for the strongest 0.5 percent.

        Raises:
            ValueError: another share, or no numbers so far.
        """
        if not 0 < share < 1:
            raise ValueError(f"share is {share}; give a number between 0 and 1")
        if self.seen == 0:
            raise ValueError("no numbers have been added; add some before asking for quantiles")
        reaching = (
            self._counts.double().flip(1).cumsum(dim=1).flip(1)
        )  # (units, bins), at a bin's lower edge
        reaching = torch.nn.functional.pad(reaching, (0, 1))  # (units, bins + 1), at the upper end
        place = (reaching <= share * self.seen).long().argmax(dim=1)
        above = reaching.gather(1, place[:, None])[:, 0] / self.seen
        return Thresholds((place - self._bins // 2) * self.width, above, self.width)
