"""Recorded runs as tables of numbers, read anew from their files whenever they are asked for.

Every row says in `path` which record it comes from.  Runs on a processor and on a graphics
card are never in one table, so that no pair of runs mixes them.
"""

from fmlib.evidence.attacked import judged, robustness
from fmlib.evidence.caches import (
    PAIRS,
    caching,
    caching_variants,
    final,
    final_differences,
    left_out,
    of_condition,
    rules,
    skipping,
    stages,
    until,
)
from fmlib.evidence.images import deciles, embeddings, exploration
from fmlib.evidence.making import BENCHMARKS, benchmarks, made
from fmlib.evidence.maps import (
    FURTHER,
    INPUTS,
    WAY_PAIRS,
    WAYS,
    further_training,
    map_ways,
    of_model,
    of_way,
    undefined_losses,
    way_by_epoch,
    way_differences,
)
from fmlib.evidence.reading import FULL, Outcomes, by_seed, counted, differences, finished, outcomes

__all__ = [
    "BENCHMARKS",
    "FULL",
    "FURTHER",
    "INPUTS",
    "PAIRS",
    "WAYS",
    "WAY_PAIRS",
    "Outcomes",
    "benchmarks",
    "by_seed",
    "caching",
    "caching_variants",
    "counted",
    "deciles",
    "differences",
    "embeddings",
    "exploration",
    "final",
    "final_differences",
    "finished",
    "further_training",
    "judged",
    "left_out",
    "made",
    "map_ways",
    "of_condition",
    "of_model",
    "of_way",
    "outcomes",
    "robustness",
    "rules",
    "skipping",
    "stages",
    "undefined_losses",
    "until",
    "way_by_epoch",
    "way_differences",
]
