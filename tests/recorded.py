"""Runs made by hand, of sizes that count as evidence: for the tests of what reads records."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fmlib.caching import RELEASED
from fmlib.experiments.ablation import Ablation, AblationRun, Variant, Way
from fmlib.experiments.adversarial_robustness import (
    FGSM_ON,
    PGD_ON,
    TWINS,
    VICTIMS,
    Attacks,
    AttacksRun,
    Judgement,
    Outcome,
    Robustness,
    RobustnessRun,
    Victim,
)
from fmlib.experiments.caching import (
    CachingRun,
    Condition,
    RecordedStage,
    RecordedStages,
    Run,
    StagesRun,
)
from fmlib.experiments.common import Result, RunConfig
from fmlib.experiments.depth import DepthRun, Exits, ExitsRun, RecordedExit
from fmlib.experiments.dissection import (
    ChanceFound,
    CombinedFound,
    DissectionRun,
    Dissections,
    UnitsFound,
)
from fmlib.experiments.exploration import (
    Embeddings,
    EmbeddingsRun,
    Exploration,
    ExplorationRun,
)
from fmlib.experiments.feature_evolution import (
    REGULARIZERS,
    Course,
    EvolutionRun,
    Looks,
    RecordedCourse,
    Regularizer,
)
from fmlib.experiments.feature_map_regularization import (
    Accuracy,
    FurtherTraining,
    MapRun,
    Model,
    RecordedWay,
    Trial,
    Trials,
    UndefinedLossRun,
    Ways,
    WaysRun,
    WayTrained,
)
from fmlib.experiments.grids import COLOUR_CNN, GENTLE, MAP_WAYS
from fmlib.experiments.inversion import InversionRun, Inversions
from fmlib.experiments.large_pictures import Pictures, PicturesRun, Start, png
from fmlib.experiments.looks import AMOUNTS
from fmlib.experiments.seeing import (
    PARTS,
    FirstLayerFound,
    PartFound,
    SanityFound,
    SeeingRun,
    Seen,
)
from fmlib.experiments.similar_training import Condition as SimilarityCondition
from fmlib.experiments.similar_training import Course as SimilarCourse
from fmlib.experiments.similar_training import Measures
from fmlib.experiments.similarity import Cached, CachedRun, ResNetRun, SimilarityRun
from fmlib.experiments.skipping import SkippingRun
from fmlib.experiments.transfer import PAIRS, Overlaps, OverlapsRun, Transfer, TransferRun
from fmlib.training import EpochResult, History, Report
from tests import made_up, results

NEAREST = RELEASED.model_copy(update={"hit": "nearest"})
"""The cache without its threshold."""
Made = tuple[str, RunConfig, Result]
"""Experiment, configuration and result, from which a record is made."""
FULL: dict[str, Any] = {"dataset": "mnist", "n_train": 60_000}


def write_all(records: Iterable[Made], folder: Path) -> list[Path]:
    """Write records; their files."""
    return [made_up.write(folder, *one) for one in records]


def caching(
    seed: int,
    condition: Condition = "plain",
    accuracies: Sequence[float] = (50.0, 80.0),
    skipped: int = 0,
    diverged: bool = False,
    **config: Any,
) -> Made:
    """A run at batch 4096 whose epochs have 60,000 images and 15 steps; it skips the first class.

    Its cache has looked up all images but the 4,096 of the first batch; the second class has no
    threshold.
    """
    cached = condition == "cached"
    config = {"batch_size": 4096, "cache": RELEASED if cached else None, **FULL, **config}
    if condition == "random":
        config["rates"] = ((0.25, 0.0),)
    trained = 60_000 - skipped
    policy: Report = {
        "hits": [skipped, 0],
        "misses": [40_000 - skipped, 15_904],
        "trained": [trained],
    }
    policy |= {"threshold": [0.8, None], "similarity": [0.98, 0.99]}
    epochs = [
        EpochResult(
            epoch=number,
            loss=1.0,
            test_accuracy=accuracy,
            seen=60_000,
            trained=trained,
            seen_per_class=(40_000, 20_000),
            skipped_per_class=(skipped, 0),
            steps=15,
            seconds=2.0,
            policy=policy if cached else {},
        )
        for number, accuracy in enumerate(accuracies, 1)
    ]
    history = History(epochs=tuple(epochs))
    result = Run(
        history=results.broken(history) if diverged else history,
        train_accuracy=accuracies[-1] + 1,
        test_accuracy=accuracies[-1],
    )
    return "caching", CachingRun(condition=condition, seed=seed, **config), result


def variant(seed: int, accuracies: Sequence[float] = (50.0, 80.0), **config: Any) -> Made:
    """A cached run of another reading, data or input, as `caching`."""
    return "caching_variants", *caching(seed, "cached", accuracies, **config)[1:]


def selective(seed: int, scored: int = 60_000, skipped: int = 20_000) -> Made:
    """An epoch at batch 4096 of a rule that goes by losses, with the images it has scored."""
    _, _, run = caching(seed, "random", [50.0], skipped=skipped)
    assert isinstance(run, Run)
    [epoch] = run.history.epochs
    epoch = epoch.model_copy(update={"policy": {"scored": [float(scored), 0.0]}})
    result = run.model_copy(update={"history": History(epochs=(epoch,))})
    config = SkippingRun(rule="selective_backprop", beta=0.5, batch_size=4096, seed=seed, **FULL)
    return "skipping", config, result


def depth(seed: int, layer: str | None = None, accuracy: float = 60.0, **values: Any) -> Made:
    """A run on CIFAR-10, as `caching`, with the cache of a layer, at its rates, or plain."""
    condition = values.pop("condition", "plain" if layer is None else "cached")
    cache = RELEASED.model_copy(update={"layer": layer}) if condition == "cached" else None
    rates = ((0.25, 0.0),) if condition == "random" else None
    values |= {"skipped": 0 if condition == "plain" else 20_000}
    _, _, run = caching(seed, condition, [accuracy], **values)
    config = {**FULL, "dataset": "cifar10", "n_train": 50_000, "batch_size": 128}
    kind = DepthRun(condition=condition, layer=layer, cache=cache, rates=rates, seed=seed, **config)
    return "cache_depth", kind, run


def exits(seed: int, dataset: str = "mnist") -> Made:
    """Two layers: at the first 80 % leave, 30 % (plus the seed) of them named right; then none."""
    first = {"hits": 80.0, "precision": 30.0 + seed, "network_on_hits": 98.0, "accuracy": 40.0}
    none = {"hits": 0.0, "precision": None, "network_on_hits": None, "accuracy": 98.0}
    layers: dict[str, dict[str, float | None]] = {"conv1": {**first}, "conv2": {**none}}
    found = {
        name: RecordedExit.model_validate({**values, "nearest": 35.0, "saved": 60.0})
        for name, values in layers.items()
    }
    config = ExitsRun(seed=seed, **{**FULL, "dataset": dataset})
    return "early_exits", config, Exits(network=98.0, exits=found)


def exploration(seed: int, diverged: int = 0) -> Made:
    """PCA 40, t-SNE 90, control 20 points better on the outlying (plus the seed).

    Errors rise by a tenth per decile in training, by two in test.
    """
    result = Exploration(
        neighbours={"PCA": 40.0 + seed, "t-SNE": 90.0 + seed},
        nearest_centroid=82.0,
        error_rates={
            "train": [0.1 * decile + seed for decile in range(10)],
            "test": [0.2 * decile + seed for decile in range(10)],
        },
        trends={"train": 0.9, "test": 1.0},
        accuracies={
            "the outlying": {"no outliers": 60.0 + seed, "control": 80.0 + 2 * seed},
            "the random": {"no outliers": 97.0, "control": 95.0},
        },
        diverged=diverged,
    )
    return "exploration", ExplorationRun(seed=seed, **FULL), result


def embeddings(seed: int) -> Made:
    """All images: PCA 42 whatever the seed, t-SNE 96 (plus the seed)."""
    result = Embeddings(neighbours={"PCA": 42.0, "t-SNE": 96.0 + seed})
    return "embeddings", EmbeddingsRun(seed=seed, **FULL), result


def stages(seed: int, batch_size: int = 64, lowest: float = 0.8) -> Made:
    """The image of class 1 is least similar, early and late to class 0, each class to its own."""
    early = [[0.9, 0.85], [lowest, 0.95]]
    late = [[1 - (1 - x) / 10 for x in row] for row in early]
    threshold: list[float | None] = [0.6, None]
    result = RecordedStages(
        early=RecordedStage(similarity=[[*row] for row in early], threshold=threshold),
        late=RecordedStage(similarity=[[*row] for row in late], threshold=threshold),
    )
    config = StagesRun(batch_size=batch_size, epochs=3, seed=seed, **FULL)
    return "cache_stages", config, result


def maps(
    seed: int,
    images: str = "maps",
    batch_size: int = 64,
    dataset: str = "mnist",
    diverged: bool = False,
) -> Made:
    """Base 90 and 88, on maps 70 and 69, on originals 95 and 89 % (plus the seed)."""
    train, test = results.ACCURACIES["maps" if images == "maps" else "originals"]
    history = results.history([50.0, test + seed], 0)
    config = MapRun(
        dataset=dataset,
        n_train=60_000,
        network="base_cnn",
        batch_size=batch_size,
        epochs=10,
        map_epochs=2,
        map_images=6000,
        images="maps" if images == "maps" else "originals",
        seed=seed,
    )
    result = FurtherTraining(
        base=Accuracy(train=90.0 + seed, test=88.0 + seed),
        base_history=results.history([88.0 + seed], 0),
        after=Accuracy(train=train + seed, test=test + seed),
        history=results.broken(history) if diverged else history,
        on_maps=60.0,
        negative_share=0.5,
        likeness={"0": [0.2, None, 0.4], "1": [0.5, None, 0.7]},
    )
    return "feature_map_regularization", config, result


WAYS: dict[RecordedWay, tuple[float, float]] = {
    "each_map": results.ACCURACIES["maps"],
    "each_map after": (80.0, 77.0),
    "mean_map": (92.0, 90.0),
    "originals": results.ACCURACIES["originals"],
    "blurred": results.ACCURACIES["blurred"],
    "untrained": results.ACCURACIES["untrained"],
}
"""Train and test accuracy of what `ways` trained, to which its seed is added."""


def ways(seed: int, diverged: tuple[RecordedWay, ...] = ()) -> Made:
    """Base 90 and 88, ways as `WAYS` after two epochs (plus the seed), the first 50 %."""
    trained = {
        way: WayTrained(
            tests=(50.0 + seed, test + seed),
            losses=(1.0, None if way in diverged else 0.5),
            after=Accuracy(train=train + seed, test=test + seed),
            on_made=60.0,
            divergence=results.DIVERGENCE if way in diverged else None,
        )
        for way, (train, test) in WAYS.items()
    }
    base = Accuracy(train=90.0 + seed, test=88.0 + seed)
    result = Ways(base=base, roughness=(0.8, 0.4), sigma=1.5, trained=trained)
    config = {**FULL, "ways": MAP_WAYS, "seed": seed, **GENTLE}
    return "map_ways", WaysRun.model_validate(config), result


MODELS: tuple[Victim, ...] = (*VICTIMS, *TWINS)
LEVELS = dict(zip(MODELS, (40.0, 30.0, 50.0, 60.0, 70.0), strict=True))


def robustness(seed: int, epsilons: tuple[float, ...] = (0.05, 0.15, 0.25)) -> Made:
    """Models at 40, 30, 50, 60 and 70 % (plus the seed), 10 less under PGD, 20 more unchanged.

    An attack by a model's own gradient costs it 20 more.
    """
    level = {victim: value + seed for victim, value in LEVELS.items()}

    def outcome(kind: Any, eps: float) -> Outcome:
        less = {"unchanged": -20.0}.get(kind, 10.0 if kind.startswith("pgd") else 0.0)
        own = {v: 20.0 * (kind in (FGSM_ON[v], PGD_ON[v])) for v in MODELS}
        accuracy = {v: level[v] - less - own[v] for v in MODELS}
        n = 1000 if kind.startswith("pgd") else 10_000
        return Outcome(perturbation=kind, eps=eps, n=n, accuracy=accuracy, only_base=7, only_maps=2)

    kinds: dict[str, tuple[float, ...]] = {"unchanged": (0.0,), "released": (0.0, *epsilons)}
    kinds |= dict.fromkeys(("sign noise", *FGSM_ON.values(), *PGD_ON.values()), epsilons)
    result = Robustness(
        seed=seed,
        test_accuracy={victim: value + 25 for victim, value in level.items()},
        outcomes=tuple(outcome(kind, eps) for kind, sizes in kinds.items() for eps in sizes),
        no_gradient=dict.fromkeys(MODELS, 0.0),
        chance=11.0,
    )
    config = RobustnessRun(dataset="mnist", n_train=50_000, seed=seed)
    return "adversarial_robustness", config, result


def without_map_model(whole: Made) -> Made:
    """What `robustness` made, if training on the maps had met an undefined loss."""
    experiment, config, result = whole
    return experiment, config, result.model_copy(update={"maps_divergence": results.DIVERGENCE})


def attacks(seed: int, lost: Iterable[Model] = (), **settings: Any) -> Made:
    """Base model and copies at 40, 30, 50, 60 and 70 % (plus the seed), 20 more unchanged.

    By a strong attack on itself each loses 10, the untrained maps' model 10 times the seed too.
    The base model is alone right about 1 image against the map model, that about 10 against the
    base model and 12 against the originals, and so on (plus the seed).  The `lost` diverged.
    """
    places = {model: place for place, model in enumerate(results.ACCURACIES)}
    level = dict(zip(places, (40.0, 30.0, 50.0, 60.0, 70.0), strict=True))

    def judged(kind: Any, eps: float) -> Judgement:
        strong = kind in ("own restarts", "own squares")
        up = {"unchanged": 20.0}.get(kind, -10.0 if strong else 0.0) + seed
        accuracy = {model: value + up for model, value in level.items()}
        accuracy["untrained"] -= 10 * seed * strong
        only = {
            one: {other: 10 * i + j + seed for other, j in places.items() if other != one}
            for one, i in places.items()
        }
        n = 500 if strong else 10_000
        return Judgement(perturbation=kind, eps=eps, n=n, accuracy=accuracy, only=only)

    kinds: dict[str, tuple[float, ...]] = {"unchanged": (0.0,)}
    kinds |= dict.fromkeys(("sign noise", "fgsm on base", "own fgsm"), (0.15, 0.25, 1.0))
    kinds |= dict.fromkeys(("own restarts", "own squares"), (0.15, 0.25))
    result = Attacks(
        test_accuracy={model: value + 25 + seed for model, value in level.items()},
        judgements=tuple(judged(kind, eps) for kind, sizes in kinds.items() for eps in sizes),
        chance=11.0,
        sigma=1.5,
        divergences=dict.fromkeys(lost, results.DIVERGENCE),
    )
    settings = {"dataset": "mnist", "n_train": 50_000, "input_scale": "unit", **settings}
    config = AttacksRun(seed=seed, **settings)
    return "attacks", config, result


def undefined_losses(seed: int, base: bool = True) -> Made:
    """Originals end well, maps in an undefined loss at 0.1; with a lost base model nothing.

    The first gradient is 1 + seed on originals, ten times that on maps.
    """
    fine = results.history([90.0], 0)
    trials = [
        Trial(
            activation="relu",
            input_scale="released",
            images=images,
            seed=seed,
            learning_rate=rate,
            gradient=(1.0 + seed) * (1 if images == "originals" else 10) if base else None,
            history=(results.broken(fine) if (images, rate) == ("maps before", 0.1) else fine)
            if base
            else None,
        )
        for images in ("originals", "maps before")
        for rate in (0.01, 0.1)
    ]
    config = UndefinedLossRun(activation="relu", seed=seed, **FULL)
    return "undefined_losses", config, Trials(trials=tuple(trials))


LOOKS: dict[str, float] = {
    "variation": 0.1,
    "high_frequency": 0.5,
    "compressed": 2000.0,
    "contrast": 0.2,
    "confusion": 0.3,
    "activation": 5.0,
    "probability": 0.6,
    "agreement": 50.0,
    "conviction": 40.0,
}
"""Numbers of the pictures that `evolution` has before training; each epoch doubles the first."""


def evolution(
    seed: int,
    course: Course = "scratch",
    accuracies: Sequence[float] = (60.0, 80.0, 90.0),
    images: int = 4000,
    published: Mapping[str, Sequence[float | None]] | None = None,
    **looks: Sequence[float | None],
) -> Made:
    """A course whose pictures are made at every epoch; its accuracies and losses go by the seed.

    `looks` are numbers by epoch, those before training first, `published` those of pictures as
    published where they are others; total variation doubles with each epoch, the rest stays.
    """
    epochs = range(len(accuracies) + 1)
    columns: dict[str, Sequence[float | None]] = {n: [v] * len(epochs) for n, v in LOOKS.items()}
    columns |= {"variation": [LOOKS["variation"] * 2**epoch for epoch in epochs], **looks}

    def rows(regularizer: Regularizer) -> tuple[Looks, ...]:
        own = columns | dict(published or {} if regularizer == "published" else {})
        named = ({name: values[epoch] for name, values in own.items()} for epoch in epochs)
        return tuple(Looks.model_validate({"epoch": e, **one}) for e, one in enumerate(named))

    config = EvolutionRun(
        course=course, seed=seed, n_train=images, epochs=len(accuracies), shown_epochs=(*epochs,)
    )
    result = RecordedCourse(
        accuracies=tuple(value + seed for value in accuracies),
        losses=tuple(1 / epoch for epoch in epochs[1:]),
        train_accuracy=95.0 + seed,
        looks={name: rows(name) for name in REGULARIZERS},
    )
    return "feature_evolution", config, result


def seeing(seed: int, **values: Any) -> Made:
    """Numbers in favour of every claim, the accuracy plus the seed; `values` replace some.

    Probabilities are 0.9 unchanged, 0.8 moved or scaled, 0.4 turned; in parts 20 % of the
    output's features differ, 40 % in the last maps, 10 points more where places are random.
    """
    left = {"translation": 0.8, "scaling": 0.8, "rotation": 0.4}
    parts = {"act3": PartFound(part=0.4, random=0.5), "fc": PartFound(part=0.2, random=0.3)}
    result = Seen(
        accuracies=(50.0, 80.0 + seed),
        purity={"act1": 50.0, "act2": 60.0, "act3": 80.0},
        purity_untrained={"act1": 45.0, "act2": 46.0, "act3": 47.0},
        shown_epochs=(0, 4, 23),
        convergence={"act1": (0.5, 0.9, 1.0), "act2": (0.2, 0.6, 1.0), "act3": (0.0, 0.5, 1.0)},
        moved={name: {"act1": (0.8, 0.9, 0.9), "fc": (0.7, 0.4, 0.3)} for name in AMOUNTS},
        probability={
            name: tuple(0.9 if amount == (name == "scaling") else left[name] for amount in amounts)
            for name, amounts in AMOUNTS.items()
        },
        centre=(0.0, 2.0, 3.0),
        border=(0.0, 1.5, 1.0),
        activity=30.0,
        activity_untrained=20.0,
        parts={part.name: parts for part in PARTS},
        agreement=({"act3": 0.0, "fc": -0.1}, {"act3": 0.1, "fc": 0.1}),
        first_layers={
            "11x11, stride 4": FirstLayerFound(dead=20.0, midrange=40.0, aliased=90.0, accuracy=70),
            "7x7, stride 2": FirstLayerFound(dead=5.0, midrange=50.0, aliased=60.0, accuracy=75),
        },
        shuffled_learnt=99.0,
        sanity={
            "gradient": SanityFound(
                layers={"fc": 0.6, "conv1": 0.1}, twin=0.5, shuffled=0.25, edges=0.2
            ),
            "deconvnet": SanityFound(
                layers={"fc": 0.7, "conv1": 0.3}, twin=0.6, shuffled=0.3, edges=-0.1
            ),
        },
    )
    return "seeing", SeeingRun(seed=seed), result.model_copy(update=values)


def inversion(
    seed: int,
    gradient: Sequence[float] = (0.01, 0.2, 0.5, 0.8),
    network: Sequence[float] = (0.1, 0.2, 0.4, 0.6),
    mean_image: float = 0.7,
) -> Made:
    """Distances after training from three layers and the output; before it they are 0.1 less."""
    ways = {"gradient": gradient, "up-convolution": network}
    errors = {
        way: {
            layer: (error - 0.1, error)
            for layer, error in zip(("act1", "act2", "act3", "fc"), given, strict=True)
        }
        for way, given in ways.items()
    }
    result = Inversions.model_validate(
        {
            "accuracies": (50.0, 80.0 + seed),
            "shown_epochs": (0, 23),
            "variations": {"act1": 0.1},
            "mean_image": mean_image,
            "errors": errors,
            "similarities": {
                way: {layer: tuple(1 - error for error in two) for layer, two in one.items()}
                for way, one in errors.items()
            },
        }
    )
    return "inversion", InversionRun(seed=seed), result


def dissection(
    seed: int,
    own: float = 0.1,
    untrained: float = 0.08,
    shuffled: float = 0.02,
    combined: Sequence[float] = (0.05, 0.09, 0.1, 0.11),
    combined_untrained: float = 0.08,
) -> Made:
    """Overlaps, the same in all layers and categories; one unit of four is labelled by a shape.

    `combined` are the best unit and the combination, cut as published and freely.
    """
    layers = ("act1", "act2", "act3")
    names = ("single", "combined", "single_free", "combined_free")

    def units(iou: float) -> UnitsFound:
        return UnitsFound(
            iou=iou,
            shuffled=shuffled,
            significant=90.0,
            customary=70.0,
            customary_shuffled=1.0,
            categories={"colour": 3, "texture": 0, "shape": 1, "part": 0},
        )

    def several(numbers: Sequence[float]) -> CombinedFound:
        found = dict(zip(names, numbers, strict=True))
        return CombinedFound.model_validate({**found, "categories": {"colour": found}})

    before = (combined[0], combined_untrained, *combined[2:])
    result = Dissections(
        accuracies=(50.0, 80.0 + seed),
        units={
            "trained": dict.fromkeys(layers, units(own)),
            "untrained": dict.fromkeys(layers, units(untrained)),
        },
        combined={
            "trained": dict.fromkeys(layers, several(combined)),
            "untrained": dict.fromkeys(layers, several(before)),
        },
        chance={20: ChanceFound(own=0.07, shuffled=0.02, share=17.0)},
    )
    return "dissection", DissectionRun(seed=seed), result


def measures(maps: float = 0.4, **values: float) -> Measures:
    """A loss of 2, of which norms are 2 too; every layer's maps have the same cosine."""
    numbers = {"loss": 2.0, "norms": 2.0, "unit": 1.0, "complete": 1.0, "kernel_cosine": 0.02}
    layers = {"conv1": maps, "act1": maps / 2}
    return Measures(**{**numbers, **values}, maps=layers, dead={"conv1": 5.0, "act1": 10.0})


def similar(
    seed: int,
    condition: SimilarityCondition = "baseline",
    accuracy: float = 90.0,
    early: float = 60.0,
    maps: float = 0.4,
    begun: Measures | None = None,
    **config: Any,
) -> Made:
    """A training of three epochs; of CNN2, another width or optimizer by `config`."""
    if config.get("network") == "compact_cnn":
        config = {**COLOUR_CNN, **config}
    run = SimilarityRun.model_validate({"condition": condition, "seed": seed, **config})
    return "similarity", run, course(accuracy, early, begun or measures(maps), run.width)


def course(accuracy: float, early: float, begun: Measures, width: float = 1.0) -> SimilarCourse:
    return SimilarCourse(
        minimized_at=(0, 500),
        minimized=(2.0, 0.5),
        drawn=measures(),
        begun=begun,
        trained=measures(0.3, loss=8.0, norms=4.0),
        losses=(2.0, 1.0, 0.5),
        train_accuracies=(50.0, 70.0, 95.0),
        test_accuracies=(50.0, early, accuracy),
        similarity=(begun.loss, 4.0, 6.0, 8.0),
        norms=(begun.norms, 3.0, 4.0, 4.0),
        diverged=False,
        parameters=round(1000 * width),
    )


def similar_resnet(seed: int, condition: SimilarityCondition, width: int, accuracy: float) -> Made:
    """ResNet18 with and without initialization."""
    run = ResNetRun(condition=condition, seed=seed, width=width)
    return "resnet_similarity", run, course(accuracy, 60.0, measures())


def similar_cache(seed: int, condition: SimilarityCondition, nearest: float = 40.0) -> Made:
    """A training with a cache."""
    result = Cached(
        nearest_begun=35.0, nearest=nearest, skipped=30.0, test_accuracy=80.0, map_cosine=0.25
    )
    return "similar_caches", CachedRun(condition=condition, seed=seed), result


def pictures(seed: int, start: Start = "scratch", epochs: tuple[int, ...] = (1, 2)) -> Made:
    """Four classes at some epochs, each picture of one level; the accuracy is 50, 51, ... %.

    Class k at the epoch in place e has the level (10 e + k) / 255; only seed 0 has pictures.
    """
    classes = range(4)
    drawn = [
        tuple(png(torch.full((3, 80, 80), (10 * place + number) / 255)) for number in classes)
        for place in range(len(epochs))
    ]
    last = epochs[-1] if start != "imagenet" else 0
    result = Pictures(
        class_names=tuple("abcd"),
        accuracies=tuple(50.0 + epoch for epoch in range(last)),
        epochs=epochs,
        activations=tuple((1.0, 2.0, 3.0, 6.0 + seed) for _ in epochs),
        probabilities=tuple((0.25, 0.5, 0.75, 1.0) for _ in epochs),
        variation=tuple(0.1 * (place + 1) for place in range(len(epochs))),
        confusion=tuple(0.2 * (place + 1) for place in range(len(epochs))),
        pictures=tuple(drawn) if seed == 0 else (),
    )
    config = PicturesRun(start=start, epochs=last, shown_epochs=epochs, seed=seed)
    return "large_pictures", config, result


def ablation(
    seed: int,
    variant: Variant = "full",
    test: float = 80.0,
    train: float = 90.0,
    way: Way = "recipe",
    **values: Any,
) -> Made:
    """A network of 1,000 parameters, accuracies (plus the seed) after two epochs and 10 seconds.

    Two of its test images have near-duplicates; on the others it is half a point worse.
    """
    found = Ablation(
        parameters=1000,
        train_accuracy=train + seed,
        test_accuracy=test + seed,
        duplicates=2,
        accuracy_without_duplicates=test + seed - 0.5,
        validation=(50.0, test + seed),
        losses=(1.0, 0.5),
        rates=(0.01, 0.001),
        renormalized=0,
        seconds=10.0,
    )
    config = AblationRun(seed=seed, variant=variant, way=way, epochs=2)
    return "ablation", config, found.model_copy(update=values)


GREY = {"network": "base_cnn", "layers": ("act1", "act3"), "augment": False}


def transfer(
    seed: int,
    pretraining: str = "fashion-mnist",
    dataset: str = "mnist",
    first: float = 50.0,
    last: float = 70.0,
    untrained: tuple[float, float] = (40.0, 45.0),
    pixels: float = 42.0,
    scratch: float = 35.0,
) -> Made:
    """Accuracies (plus the seed) at 5 and at 200 images per class, where they are 10 higher.

    Of the first and the last layer, trained and `untrained`, of pixels and from scratch.
    """
    colours = pretraining.startswith("cifar10")
    names = ("pool1", "act7") if colours else ("act1", "act3")

    def both(value: float) -> tuple[float, float]:
        return value + seed, value + seed + 10

    result = Transfer(
        features={
            "trained": {names[0]: both(first), names[1]: both(last)},
            "untrained": {name: both(v) for name, v in zip(names, untrained, strict=True)},
        },
        pixels=both(pixels),
        scratch=both(scratch),
        scratch_train=both(60.0),
        source_accuracy=75.0,
        chance=25.0,
    )
    config: dict[str, Any] = {"pretraining": pretraining, "dataset": dataset, "sizes": (5, 200)}
    config |= {"layers": names} if colours else GREY
    return "transfer", TransferRun.model_validate({"seed": seed, **config}), result


def overlaps(counts: Mapping[str, int] | None = None, n_test: int = 2000) -> Made:
    """How many test images have so near a training image, of every pair of sets the same."""
    counts = counts or {"0.8": 40, "0.85": 20, "0.9": 4, "0.95": 2, "0.98": 0}
    result = Overlaps(
        counts=dict.fromkeys(PAIRS, counts),
        n_test=dict.fromkeys(PAIRS, n_test),
        n_compared=dict.fromkeys(PAIRS, 6000),
    )
    return "overlaps", OverlapsRun(seed=0), result
