"""Statistics of paired results: pure functions of numbers."""

from scipy.stats import binomtest


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
