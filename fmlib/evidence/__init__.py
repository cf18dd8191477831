"""Recorded runs as tables of numbers, read anew from their files whenever they are asked for.

Every row says in `path` which record it comes from.  Runs on a processor and on a graphics
card are never in one table, so that no pair of runs mixes them.
"""

from fmlib.evidence.ablation import ablation, ablation_by_epoch, overlaps, transfers
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
    shared_seeds,
    skipping,
    stages,
    until,
)
from fmlib.evidence.evolution import (
    LOOKS,
    evolution,
    evolution_looks,
    large_networks,
    large_pictures,
)
from fmlib.evidence.images import deciles, embeddings, exploration
from fmlib.evidence.making import BENCHMARKS, benchmarks, made
from fmlib.evidence.maps import (
    FURTHER,
    WAY_PAIRS,
    further_by_epoch,
    further_training,
    map_ways,
    of_model,
    of_way,
    undefined_losses,
    way_by_epoch,
    way_differences,
)
from fmlib.evidence.reading import FULL, Outcomes, by_seed, counted, differences, finished, outcomes
from fmlib.evidence.seeing import map_convergence, moved_probability, photographs, seeing
from fmlib.experiments.grids import READING_EPOCHS

__all__ = [
    "BENCHMARKS",
    "FULL",
    "FURTHER",
    "LOOKS",
    "PAIRS",
    "READING_EPOCHS",
    "WAY_PAIRS",
    "Outcomes",
    "ablation",
    "ablation_by_epoch",
    "attacks",
    "benchmarks",
    "by_seed",
    "cache_layers",
    "caching",
    "caching_variants",
    "classes",
    "counted",
    "deciles",
    "depth",
    "differences",
    "embeddings",
    "evolution",
    "evolution_looks",
    "exits",
    "exploration",
    "final",
    "final_at_layer",
    "final_differences",
    "finished",
    "further_by_epoch",
    "further_training",
    "judged",
    "large_networks",
    "large_pictures",
    "left_out",
    "made",
    "map_convergence",
    "map_ways",
    "moved_probability",
    "of_condition",
    "of_model",
    "of_way",
    "outcomes",
    "overlaps",
    "photographs",
    "readings",
    "robustness",
    "rules",
    "seeing",
    "shared_seeds",
    "skipping",
    "stages",
    "transfers",
    "undefined_losses",
    "until",
    "way_by_epoch",
    "way_differences",
]
