"""The grids of runs that are recorded, one per experiment."""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple, get_args

from fmlib.caching import RELEASED
from fmlib.experiments.ablation import VARIANTS, WAYS, Ablation, AblationRun
from fmlib.experiments.adversarial_robustness import (
    Attacks,
    AttacksRun,
    Robustness,
    RobustnessRun,
)
from fmlib.experiments.caching import (
    CONDITIONS,
    INPUT_SCALES,
    CachingRun,
    Condition,
    RecordedStages,
    Run,
    StagesRun,
    walk_steps,
)
from fmlib.experiments.common import Result, RunConfig
from fmlib.experiments.depth import DepthRun, Exits, ExitsRun
from fmlib.experiments.dissection import DissectionRun, Dissections
from fmlib.experiments.exploration import Embeddings, EmbeddingsRun, Exploration, ExplorationRun
from fmlib.experiments.feature_evolution import COURSES, EvolutionRun, RecordedCourse
from fmlib.experiments.feature_map_regularization import (
    FurtherTraining,
    MapRun,
    RecordedWay,
    Trials,
    UndefinedLossRun,
    Ways,
    WaysRun,
)
from fmlib.experiments.inversion import InversionRun, Inversions
from fmlib.experiments.large_pictures import Pictures, PicturesRun
from fmlib.experiments.photographs import Photographs, PhotographsRun
from fmlib.experiments.seeing import SeeingRun, Seen
from fmlib.experiments.similar_training import CONDITIONS as SIMILAR_CONDITIONS
from fmlib.experiments.similar_training import Course, Steps
from fmlib.experiments.similarity import (
    CACHED,
    COLOUR_RATE,
    COMPARED,
    FEWER,
    RESNET_CONDITIONS,
    RESNET_WIDTHS,
    Cached,
    CachedRun,
    ResNetRun,
    SimilarityRun,
)
from fmlib.experiments.skipping import OF_THE_CACHE, Rule, SkippingRun
from fmlib.experiments.transfer import BASE_LAYERS, Overlaps, OverlapsRun, Transfer, TransferRun
from fmlib.models import DEEP_WIDTHS, Activation

BATCH_SIZES = (4096, 2048, 1024, 512, 256, 128, 64, 32)
SEEDS, SEEDS_AT_4096, SEEDS_OF_LONG_RUNS = 5, 10, 3
SEEDS_OF_ROBUSTNESS, SEEDS_OF_SHARES = 10, 20


class Experiment(NamedTuple):
    """What is recorded under one name: kinds of configuration and result, and the runs."""

    config: type[RunConfig]
    result: type[Result]
    grid: Callable[[], list[RunConfig]]


def _caching(condition: Condition, **values: object) -> CachingRun:
    cache = RELEASED if condition == "cached" else None
    return CachingRun.model_validate(
        {"dataset": "mnist", "condition": condition, "cache": cache, **values}
    )


def caching_grid() -> list[RunConfig]:
    """Fig. 7 and 8 in full, the cache without its threshold, and what audits need.

    These are runs with two threads, for the spread that rounding makes, and small ones in
    float64, to be made again exactly.
    """
    runs: list[RunConfig] = [
        _caching(condition, n_train=60_000, batch_size=size, seed=seed)
        for seed, size, condition in product(range(SEEDS_AT_4096), BATCH_SIZES, CONDITIONS)
        if seed < (SEEDS_AT_4096 if size == 4096 else SEEDS)
    ]
    nearest = RELEASED.model_copy(update={"hit": "nearest"})
    runs += [
        CachingRun(
            dataset="mnist",
            n_train=60_000,
            condition="cached",
            cache=nearest,
            batch_size=size,
            seed=seed,
        )
        for seed, size in product(range(SEEDS), (4096, 64))
    ]
    runs += [
        _caching("plain", n_train=60_000, batch_size=size, seed=seed, threads=2)
        for size, seed in product((64, 4096), range(3))
    ]
    small = {"n_train": 3000, "n_test": 1000, "batch_size": 200, "epochs": 2}
    runs += [
        _caching(condition, **small, seed=seed, precision="float64")
        for seed, condition in product(range(2), CONDITIONS)
    ]
    return runs


RULES: dict[int, tuple[Rule, ...]] = {
    4096: get_args(Rule),
    512: tuple(rule for rule in get_args(Rule) if rule != "scored"),
}
"""Rules beside the cache that are recorded, by batch size."""
BETA = 0.5
"""Has selective backprop leave out a third of the images, about as many as the cache does."""


def skipping_grid() -> list[RunConfig]:
    """Controls and peers of the cache; their partners are the runs of `caching_grid`.

    A cache that leaves nothing out trains as without one: what is recorded is its time, of few
    epochs.
    """
    return [
        SkippingRun(
            dataset="mnist",
            n_train=60_000,
            batch_size=size,
            epochs=3 if rule == "scored" else 10,
            rule=rule,
            cache=RELEASED if rule in OF_THE_CACHE else None,
            beta=BETA if rule == "selective_backprop" else None,
            seed=seed,
        )
        for seed, size in product(range(SEEDS), RULES)
        for rule in RULES[size]
    ]


READING_EPOCHS = 2
"""Epochs of the runs from the printed to the released reading."""


def caching_variants_grid() -> list[RunConfig]:
    """Other readings, input scales and data than those of Fig. 7 and 8.

    The missing class mended where batches are smallest, a cache without threshold at one more
    size, input scales and learning rates without a cache, and Fashion-MNIST; and, for the first
    epochs of Fig. 7, the way from the printed to the released reading (that one is in
    `caching_grid`).
    """
    full, mended = {"n_train": 60_000}, RELEASED.model_copy(update={"missing_class": "ignore"})
    nearest = RELEASED.model_copy(update={"hit": "nearest"})
    scales = [(scale, rate) for scale, rate in product(INPUT_SCALES, (0.01, 0.1))]
    clothes = {"dataset": "fashion-mnist", **full}
    runs = []
    for seed in range(SEEDS):
        runs.append(_caching("cached", **full, batch_size=32, cache=mended, seed=seed))
        runs.append(_caching("cached", **full, batch_size=512, cache=nearest, seed=seed))
        for scale, rate in scales:
            fed = {"input_scale": scale, "learning_rate": rate, "batch_size": 4096, "epochs": 3}
            if (scale, rate) != ("255", 0.01):  # as released, in `caching_grid`
                runs.append(_caching("plain", **full, **fed, seed=seed))
        for (size, epochs), condition in product(((64, 2), (512, 2), (4096, 4)), CONDITIONS):
            sizes = {"batch_size": size, "epochs": epochs}
            runs.append(_caching(condition, **clothes, **sizes, seed=seed))
        for *_, cache in walk_steps()[:-1]:
            sizes = {"batch_size": 4096, "epochs": READING_EPOCHS}
            runs.append(_caching("cached", **full, **sizes, cache=cache, seed=seed))
    return list(runs)


def map_grid() -> list[RunConfig]:
    """Fig. 9: its rows as released, on maps and as long on the originals."""
    rows: list[dict[str, object]] = [
        {"dataset": "mnist", "network": "base_cnn", "batch_size": 256, "epochs": 5,
         "map_epochs": 5, "map_images": 6000},
        {"dataset": "fashion-mnist", "network": "fashion_cnn", "batch_size": 256, "epochs": 5,
         "map_epochs": 2, "map_images": 6000},
        {"dataset": "mnist", "network": "base_cnn", "batch_size": 64, "epochs": 10,
         "map_epochs": 10, "map_images": 60_000},
    ]  # fmt: skip
    return [
        MapRun.model_validate({"n_train": 60_000, "images": images, "seed": seed, **row})
        for row, seed, images in product(rows, range(SEEDS), ("maps", "originals"))
        if seed < (SEEDS_OF_LONG_RUNS if row["map_images"] == 60_000 else SEEDS)
    ]


def robustness_grid() -> list[RunConfig]:
    """Fig. 10 as released, and FGSM and PGD on and by every model.

    Training on maps often ends in an undefined loss, so that it takes many seeds.
    """
    seeds = range(SEEDS_OF_ROBUSTNESS)
    return [RobustnessRun(dataset="mnist", n_train=50_000, seed=seed) for seed in seeds]


def exploration_grid() -> list[RunConfig]:
    """Fig. 1 to 3."""
    return [ExplorationRun(dataset="mnist", n_train=60_000, seed=seed) for seed in range(SEEDS)]


def stages_grid() -> list[RunConfig]:
    """Fig. 5 and 6, at two batch sizes, since theirs is not known."""
    return [
        StagesRun(dataset="mnist", n_train=60_000, batch_size=size, epochs=3, seed=seed)
        for size, seed in product((64, 4096), range(SEEDS))
    ]


def undefined_loss_grid() -> list[RunConfig]:
    """Section 7.2: training on maps before and after ReLU and leaky ReLU."""
    return [
        UndefinedLossRun(dataset="mnist", n_train=60_000, activation=activation, seed=seed)
        for activation, seed in product(get_args(Activation), range(SEEDS_OF_SHARES))
    ]


# --- what chapters show at small sizes, and the cache in a deeper network ------------------

GENTLE: dict[str, object] = {"input_scale": "unit", "learning_rate": 0.1}
"""Inputs from 0 to 1, as in the chapters; as released, training on maps often diverges."""
CIFAR10: dict[str, object] = {
    "dataset": "cifar10",
    "n_train": 50_000,
    "network": "deep_cnn",
    "batch_size": 128,
    "epochs": 2,
    "input_scale": "standardized",
    "learning_rate": 0.1,
}
"""The deeper network; batches miss a class once in some 70,000 draws."""


MAP_WAYS: tuple[RecordedWay, ...] = (
    *("each_map", "each_map after", "mean_map"),
    *("originals", "blurred", "untrained"),
)


def ways_grid() -> list[RunConfig]:
    """Fig. 9, the row of batch 256, gentler: ways of making map images, and controls.

    As released (`map_grid`) training on maps mostly fails, so that nothing could be compared.
    """
    shared = {"dataset": "mnist", "n_train": 60_000, "map_images": 3000, "ways": MAP_WAYS, **GENTLE}
    return [WaysRun.model_validate({"seed": seed, **shared}) for seed in range(SEEDS)]


def attacks_grid() -> list[RunConfig]:
    """Fig. 10 with all controls of Fig. 9 and without gradients; as released, maps mostly fail."""
    shared = {"dataset": "mnist", "n_train": 50_000, **GENTLE}
    return [AttacksRun.model_validate({"seed": seed, **shared}) for seed in range(SEEDS)]


def embeddings_grid() -> list[RunConfig]:
    """Fig. 3 with all images, once: they are all there are, and a seed only jitters the start."""
    return [EmbeddingsRun(dataset="mnist", n_train=60_000, seed=0)]


def exits_grid() -> list[RunConfig]:
    """The cache at test time, in the base CNN and in the deeper network."""
    return [
        ExitsRun.model_validate({"seed": seed, **settings})
        for seed in range(SEEDS)
        for settings in ({"dataset": "mnist", "n_train": 60_000, "epochs": 2}, CIFAR10)
    ]


def depth_grid() -> list[RunConfig]:
    """The cache of the deeper network's first and last convolution, and skipping at their rates."""
    layers = ("conv1", f"conv{len(DEEP_WIDTHS)}")
    runs = [{"condition": "plain"}]
    runs += [
        {"condition": condition, "layer": layer}
        for layer, condition in product(layers, ("cached", "random"))
    ]
    return [_depth(**CIFAR10, **run, seed=seed) for seed, run in product(range(SEEDS), runs)]


def _depth(**values: object) -> DepthRun:
    cached = values["condition"] == "cached"
    cache = RELEASED.model_copy(update={"layer": values["layer"]}) if cached else None
    return DepthRun.model_validate({"cache": cache, **values})


# --- pictures of what classes respond to --------------------------------------------------

FEW_IMAGES = 400
"""Training images of the course that overfits."""


def evolution_grid() -> list[RunConfig]:
    """punjabi2017: every course, and one on few images, which overfits."""
    few = {"n_train": FEW_IMAGES, "epochs": 60, "shown_epochs": (0, 1, 2, 4, 8, 14, 20, 30, 40, 60)}
    runs: list[dict[str, object]] = [{"course": course} for course in COURSES]
    runs.append({"course": "scratch", **few})
    return [
        EvolutionRun.model_validate({"seed": s, **run}) for s, run in product(range(SEEDS), runs)
    ]


def seeing_grid() -> list[RunConfig]:
    """masum2022: everything that is measured of a trained network."""
    return [SeeingRun(seed=seed) for seed in range(SEEDS)]


def pictures_grid() -> list[RunConfig]:
    """Large networks on four classes of photographs, and on all classes of ImageNet."""
    fine = {"learning_rate": 1e-4, "epochs": 6, "shown_epochs": (1, 2, 4, 6)}
    runs: list[dict[str, object]] = [{"start": "scratch"}, {"start": "fine-tuned", **fine}]
    grid: list[RunConfig] = [
        PicturesRun.model_validate({"seed": seed, **run})
        for seed, run in product(range(SEEDS_OF_LONG_RUNS), runs)
    ]
    return [*grid, PicturesRun(start="imagenet", epochs=0, shown_epochs=(0,), seed=0)]


def photographs_grid() -> list[RunConfig]:
    """Chapter 06 on two photographs and ImageNet's network, once: nothing is drawn by a seed."""
    return [PhotographsRun(seed=0, precision="float64")]


def inversion_grid() -> list[RunConfig]:
    """masum2022, III-B: every layer inverted in both ways, at several epochs."""
    return [InversionRun(seed=seed) for seed in range(SEEDS_OF_LONG_RUNS)]


def dissection_grid() -> list[RunConfig]:
    """masum2022, III-C: units and combinations of units against concepts."""
    return [DissectionRun(seed=seed) for seed in range(SEEDS_OF_LONG_RUNS)]


def ablation_grid() -> list[RunConfig]:
    """masum2022, VIII-B: every network, and the full one trained in other ways."""
    runs: list[dict[str, object]] = [{"variant": variant} for variant in VARIANTS]
    runs += [{"way": way} for way in WAYS if way != "recipe"]
    return [
        AblationRun.model_validate({"seed": seed, **run})
        for seed, run in product(range(SEEDS), runs)
    ]


def transfer_grid() -> list[RunConfig]:
    """masum2022, VIII-C: between classes of CIFAR-10, and between digits and garments."""
    grey = {
        "network": "base_cnn", "layers": BASE_LAYERS, "augment": False,
        "n_train": 8000, "n_pretraining": 8000, "epochs": 8,
    }  # fmt: skip
    runs: list[dict[str, object]] = [
        {},
        {"pretraining": "fashion-mnist", "dataset": "mnist", **grey},
        {"pretraining": "mnist", "dataset": "fashion-mnist", **grey},
    ]
    return [
        TransferRun.model_validate({"seed": seed, **run})
        for seed, run in product(range(SEEDS), runs)
    ]


def overlaps_grid() -> list[RunConfig]:
    """Copies of test images among training images, once: nothing is drawn by a seed."""
    return [OverlapsRun(seed=0, precision="float64")]


# --- similar feature maps -----------------------------------------------------------------

COLOUR_CNN: dict[str, object] = {
    "dataset": "cifar10",
    "n_train": 3000,
    "n_test": 1000,
    "network": "compact_cnn",
    "batch_norm": True,
    "learning_rate": COLOUR_RATE,
    "epochs": 5,
}
"""The second shallow network, whose batch normalization undoes the norm of filters."""
ITERATIONS = (50, 200, 2000)
"""Steps of the initialization besides the paper's 500."""


def similarity_grid() -> list[RunConfig]:
    """belmekki2024: all conditions in two shallow networks, iterations, optimizers and widths."""
    runs: list[dict[str, object]] = [{"condition": condition} for condition in SIMILAR_CONDITIONS]
    runs += [{**COLOUR_CNN, "condition": condition} for condition in SIMILAR_CONDITIONS]
    runs += [{"condition": "initialized", "iterations": count} for count in ITERATIONS]
    further: tuple[Steps, ...] = ("momentum", "adam")
    runs += [{"condition": c, "steps": steps} for steps, c in product(further, COMPARED)]
    runs += [
        {**COLOUR_CNN, "condition": c, "width": width} for width, c in product(FEWER, COMPARED)
    ]
    return [
        SimilarityRun.model_validate({"seed": s, **run}) for s, run in product(range(SEEDS), runs)
    ]


def similar_caches_grid() -> list[RunConfig]:
    """Does the cache of chapter 02 profit from less similar maps?"""
    return [
        CachedRun(condition=condition, seed=seed)
        for seed, condition in product(range(SEEDS), CACHED)
    ]


def resnet_similarity_grid() -> list[RunConfig]:
    """belmekki2024: ResNet18 of small width, with and without initialization, and its control."""
    return [
        ResNetRun(condition=condition, width=width, seed=seed)
        for seed in range(SEEDS_OF_LONG_RUNS)
        for width in RESNET_WIDTHS
        for condition in RESNET_CONDITIONS
    ]


EXPERIMENTS = {
    "exploration": Experiment(ExplorationRun, Exploration, exploration_grid),
    "cache_stages": Experiment(StagesRun, RecordedStages, stages_grid),
    "undefined_losses": Experiment(UndefinedLossRun, Trials, undefined_loss_grid),
    "caching": Experiment(CachingRun, Run, caching_grid),
    "caching_variants": Experiment(CachingRun, Run, caching_variants_grid),
    "skipping": Experiment(SkippingRun, Run, skipping_grid),
    "feature_map_regularization": Experiment(MapRun, FurtherTraining, map_grid),
    "adversarial_robustness": Experiment(RobustnessRun, Robustness, robustness_grid),
    "map_ways": Experiment(WaysRun, Ways, ways_grid),
    "attacks": Experiment(AttacksRun, Attacks, attacks_grid),
    "embeddings": Experiment(EmbeddingsRun, Embeddings, embeddings_grid),
    "early_exits": Experiment(ExitsRun, Exits, exits_grid),
    "cache_depth": Experiment(DepthRun, Run, depth_grid),
    "feature_evolution": Experiment(EvolutionRun, RecordedCourse, evolution_grid),
    "seeing": Experiment(SeeingRun, Seen, seeing_grid),
    "inversion": Experiment(InversionRun, Inversions, inversion_grid),
    "dissection": Experiment(DissectionRun, Dissections, dissection_grid),
    "similarity": Experiment(SimilarityRun, Course, similarity_grid),
    "similar_caches": Experiment(CachedRun, Cached, similar_caches_grid),
    "resnet_similarity": Experiment(ResNetRun, Course, resnet_similarity_grid),
    "large_pictures": Experiment(PicturesRun, Pictures, pictures_grid),
    "photographs": Experiment(PhotographsRun, Photographs, photographs_grid),
    "ablation": Experiment(AblationRun, Ablation, ablation_grid),
    "transfer": Experiment(TransferRun, Transfer, transfer_grid),
    "overlaps": Experiment(OverlapsRun, Overlaps, overlaps_grid),
}
