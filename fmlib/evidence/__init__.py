"""Recorded runs as tables of numbers, read anew from their files whenever they are asked for.

Every row says in `path` which record it comes from.  Runs on a processor and on a graphics
card are never in one table, so that no pair of runs mixes them.
"""

from fmlib.evidence.attacked import attacks, judged, robustness
from fmlib.evidence.caches import (
    PAIRS,
    cache_layers,
    caching,
    caching_variants,
    classes,
    depth,
    exits,
    final,
    final_at_layer,
    final_differences,
    left_out,
    of_condition,
    readings,
    rules,
    skipping,
    stages,
    until,
)
from fmlib.evidence.images import exploration
from fmlib.evidence.making import BENCHMARKS, benchmarks, made
from fmlib.evidence.maps import FURTHER, further_training, of_model, undefined_losses
from fmlib.evidence.reading import FULL, Outcomes, by_seed, counted, differences, finished, outcomes
from fmlib.experiments.grids import READING_EPOCHS

__all__ = [
    "BENCHMARKS",
    "FULL",
    "FURTHER",
    "PAIRS",
    "READING_EPOCHS",
    "Outcomes",
    "attacks",
    "benchmarks",
    "by_seed",
    "cache_layers",
    "caching",
    "caching_variants",
    "classes",
    "counted",
    "depth",
    "differences",
    "exits",
    "exploration",
    "final",
    "final_at_layer",
    "final_differences",
    "finished",
    "further_training",
    "judged",
    "left_out",
    "made",
    "of_condition",
    "of_model",
    "outcomes",
    "readings",
    "robustness",
    "rules",
    "skipping",
    "stages",
    "undefined_losses",
    "until",
]
