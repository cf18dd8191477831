"""Numbers as pictures: one style, one colour per quantity; nothing is read here.

Functions draw into the axes that they are given, or into a new figure, and return nothing.  All
that is computed is means and, for recorded runs (`recorded_…`), their 95 % bootstrap intervals.
"""

from fmlib.figures.adversarial_robustness import (
    perturbed_by_epsilon,
    perturbed_examples,
    recorded_own_attacks,
    recorded_own_differences,
    recorded_released,
    recorded_robustness,
    robustness,
)
from fmlib.figures.benchmarks import benchmark_ratios
from fmlib.figures.caching import (
    accuracy_by_batch_size,
    accuracy_by_epoch,
    cache_by_epoch,
    exits,
    input_scales,
    recorded_batch_sizes,
    recorded_by_cost,
    recorded_spread,
    similarity_stages,
    skipped_by_epoch,
    vector_anatomy,
)
from fmlib.figures.exploration import (
    centroids,
    embeddings,
    errors_by_decile,
    feature_maps,
    image_map,
    left_out,
    outliers,
    recorded_errors_by_decile,
)
from fmlib.figures.feature_map_regularization import (
    map_training,
    map_training_by_epoch,
    recorded_further_training,
    recorded_map_training,
    recorded_way_differences,
    recorded_ways_by_epoch,
    undefined_losses,
)
from fmlib.figures.skipping import (
    recorded_classes,
    recorded_depth,
    recorded_exits,
    recorded_readings,
    recorded_rules,
)
from fmlib.figures.style import MARKERS, NAMES, PALETTE, WIDTH, use_style

__all__ = [
    "MARKERS",
    "NAMES",
    "PALETTE",
    "WIDTH",
    "accuracy_by_batch_size",
    "accuracy_by_epoch",
    "benchmark_ratios",
    "cache_by_epoch",
    "centroids",
    "embeddings",
    "errors_by_decile",
    "exits",
    "feature_maps",
    "image_map",
    "input_scales",
    "left_out",
    "map_training",
    "map_training_by_epoch",
    "outliers",
    "perturbed_by_epsilon",
    "perturbed_examples",
    "recorded_batch_sizes",
    "recorded_by_cost",
    "recorded_classes",
    "recorded_depth",
    "recorded_errors_by_decile",
    "recorded_exits",
    "recorded_further_training",
    "recorded_map_training",
    "recorded_own_attacks",
    "recorded_own_differences",
    "recorded_readings",
    "recorded_released",
    "recorded_robustness",
    "recorded_rules",
    "recorded_spread",
    "recorded_way_differences",
    "recorded_ways_by_epoch",
    "robustness",
    "similarity_stages",
    "skipped_by_epoch",
    "undefined_losses",
    "use_style",
    "vector_anatomy",
]
