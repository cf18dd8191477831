"""Results made by hand, as the experiments return them: for the tests of tables and figures."""

import torch
from torch import Tensor

from fmlib.data import Dataset
from fmlib.experiments.adversarial_robustness import (
    FGSM_ON,
    VICTIMS,
    Examples,
    Outcome,
    Perturbation,
    Robustness,
    Sweep,
    Victim,
)
from fmlib.experiments.caching import (
    Anatomy,
    Comparison,
    ExitLayer,
    Reading,
    Run,
    Scaled,
    Stage,
    Stages,
)
from fmlib.experiments.exploration import Distances, Embedding, Group, Maps, OutlierRun
from fmlib.experiments.feature_map_regularization import MODELS, Accuracy, Model, Row, Trial, WayRun
from fmlib.exploration import Errors
from fmlib.training import Divergence, EpochResult, History, Report
from tests import toy

EVIL = ("<img src=x onerror=alert(1)>", "a|b$c$ *d*")
"""Names of classes that Markdown, HTML or matplotlib could take for more than text."""


def images(*shape: int) -> Tensor:
    """Grey levels that rise from 0 to 1 over a tensor of this shape."""
    return torch.linspace(0, 1, int(torch.tensor(shape).prod()), dtype=torch.float64).reshape(shape)


def history(accuracies: list[float], skipped: int, seconds: float = 2.0) -> History:
    """Epochs of 100 images in two classes; the first class has skipped the given number."""
    return History(
        epochs=tuple(
            EpochResult(
                epoch=number,
                loss=1.0,
                test_accuracy=accuracy,
                seen=100,
                trained=100 - skipped,
                seen_per_class=(60, 40),
                skipped_per_class=(skipped, 0),
                steps=4,
                seconds=seconds,
            )
            for number, accuracy in enumerate(accuracies, 1)
        )
    )


def comparison(batch_size: int, seed: int, *, tested: bool = True) -> Comparison:
    """Two epochs; plain ends with 80, cached with 82, random with 79 % (plus the seed)."""

    def run(final: float, skipped: int, seconds: float) -> Run:
        return Run(
            history=history([50.0 + seed, final + seed], skipped, seconds),
            train_accuracy=None if tested else final + seed + 1,
            test_accuracy=final + seed,
        )

    cached = run(82.0, 0 if batch_size == 32 else 25, 3.0)
    return Comparison(
        batch_size=batch_size, seed=seed, plain=run(80.0, 0, 2.0), cached=cached,
        random=run(79.0, 25, 1.0),
    )  # fmt: skip


def run(skipped: int, accuracy: float) -> Run:
    """Two epochs that skip the given percentage, and a final test accuracy."""
    return Run(
        history=history([50.0, accuracy], skipped), train_accuracy=None, test_accuracy=accuracy
    )


def readings() -> list[Reading]:
    """No cache, a reading without hits, and one that skips 20 and 30 % (two seeds)."""
    return [
        Reading("", "", [run(0, 80.0), run(0, 82.0)]),
        Reading("", "printed", [run(0, 80.0), run(0, 82.0)]),
        Reading("hit", "above", [run(20, 70.0), run(30, 74.0)]),
    ]


def stages(lowest: float = 0.8) -> Stages:
    """Two classes: the image of class 1 is least similar, early and late, to class 0."""
    early = torch.tensor([[0.9, 0.85], [lowest, 0.95]], dtype=torch.float64)
    labels, own = torch.tensor([0, 1]), torch.tensor([0.9, 0.95], dtype=torch.float64)
    late = 1 - (1 - early) / 10
    threshold = torch.tensor([0.6, 0.5], dtype=torch.float64)
    anatomy = Anatomy(
        images(1, 6, 6), images(3, 4, 4) - 0.5, ("mean", "deviation"), images(3, 2), images(3, 2)
    )
    return Stages(
        Stage(early, labels, own, threshold), Stage(late, labels, own, threshold), anatomy
    )


def scaled() -> list[Scaled]:
    """Two input scales; cached ends 5 points below plain, and skips 20 %."""
    return [
        Scaled(scale, [run(0, 80.0), run(0, 82.0)], [run(20, 75.0), run(20, 77.0)])
        for scale in ("255", "unit")
    ]


def exits() -> list[list[ExitLayer]]:
    """Two layers, two seeds; half of the images leave at the first layer."""
    return [
        [
            ExitLayer("conv1", 50.0, 40.0 + seed, 90.0, 65.0, 90.0, 45.0, 40.0, 0.5),
            ExitLayer("conv2", 30.0, 80.0 + seed, 92.0, 86.0, 90.0, 70.0, 1.0, 1.1),
        ]
        for seed in range(2)
    ]


ACCURACIES: dict[Model, tuple[float, float]] = {
    "base": (90.0, 88.0),
    "maps": (70.0, 69.0),
    "originals": (95.0, 89.0),
    "blurred": (93.0, 87.0),
    "untrained": (60.0, 61.0),
}
"""Train and test accuracy of the models in `row`, to which its seed is added."""


def row(number: int, seed: int, batch_size: int = 64, dataset: str = "mnist") -> Row:
    """A row of Fig. 9 with `ACCURACIES`; all copies have 50 % after their first epoch of two."""
    return Row(
        row=number,
        dataset=dataset,
        batch_size=batch_size,
        seed=seed,
        seen=300,
        negative_share=0.5,
        roughness=(0.8, 0.4),
        sigma=1.5,
        accuracies={
            model: Accuracy(train=train + seed, test=test + seed)
            for model, (train, test) in ACCURACIES.items()
        },
        histories={model: history([50.0, ACCURACIES[model][1] + seed], 0) for model in MODELS[1:]},
    )


DIVERGENCE = Divergence(epoch=2, step=7, loss="nan")


def broken(whole: History) -> History:
    """The history with an undefined loss in its last epoch."""
    epochs = *whole.epochs[:-1], whole.epochs[-1].model_copy(update={"loss": None})
    return whole.model_copy(update={"epochs": epochs, "divergence": DIVERGENCE})


def diverged_row(number: int, seed: int, model: Model = "maps") -> Row:
    """As `row`, but training one of the models met an undefined loss."""
    whole = row(number, seed)
    changed = whole.histories | {model: broken(whole.histories[model])}
    return whole.model_copy(update={"histories": changed})


def ways(seed: int) -> list[WayRun]:
    """Base 90, originals 91 %, one map 80 and 60 %, channels 70 % of maps (plus the seed)."""
    kept = [
        WayRun(way="base", seed=seed, on_originals=90.0 + seed),
        WayRun(way="originals", seed=seed, on_originals=91.0 + seed),
        WayRun(way="each_map", seed=seed, on_originals=80.0 + seed, on_maps=60.0 + seed),
        WayRun(way="channels", after=True, seed=seed, on_maps=70.0 + seed),
    ]
    return kept + [run.model_copy(update={"fresh": True}) for run in kept[1:]]


def trials(seed: int) -> list[Trial]:
    """Originals, maps that end in an undefined loss, and maps without a base, at two rates."""
    start = Trial(
        activation="relu",
        input_scale="255",
        images="originals",
        seed=seed,
        learning_rate=0.01,
        negative_share=0.0,
        dead_share=0.25,
        first_loss=0.5,
        gradient=4.0,
        weights=8.0,
        history=history([90.0], 0),
        dead_share_after=0.5,
    )
    found: dict[str, object] = {"images": "maps before", "negative_share": 0.6, "gradient": 1600.0}
    lost = found | {"history": broken(history([90.0], 0))}
    never = Trial(
        activation="leaky_relu",
        input_scale="255",
        images="originals",
        seed=seed,
        learning_rate=0.01,
    )
    return [
        trial.model_copy(update={"learning_rate": rate})
        for trial in (start, start.model_copy(update=lost), never)
        for rate in (0.01, 0.1)
    ]


def robustness(seed: int, epsilons: tuple[float, ...] = (0.1, 0.25)) -> Robustness:
    """Base 40, maps 30, originals 50 % whatever the perturbation (plus the seed).

    Of attacks by oneself FGSM leaves as many, one path of PGD 5 less, restarts 6 less, squares
    2 less, but for the maps 8 less.  Chance is 35 %; originals lack a gradient in 2.5 %.  Only
    the base model is right about 7 images, only the map model about 2 (plus the seed).
    """
    level: dict[Victim, float] = {
        "base": 40.0 + seed,
        "maps": 30.0 + seed,
        "originals": 50.0 + seed,
    }
    less: dict[Perturbation, float] = {"own pgd": 5, "own restarts": 6, "own squares": 2}

    def outcome(kind: Perturbation, eps: float) -> Outcome:
        down = dict.fromkeys(VICTIMS, -45.0 if kind == "unchanged" else less.get(kind, 0.0))
        if kind == "own squares":
            down["maps"] = 8.0
        return Outcome(
            perturbation=kind,
            eps=eps,
            n=40 if kind.startswith("own") else 1200,
            accuracy={victim: level[victim] - down[victim] for victim in VICTIMS},
            only_base=7,
            only_maps=2 + seed,
        )

    kinds: dict[Perturbation, tuple[float, ...]] = {"unchanged": (0.0,)}
    kinds |= {"released": (0.0, *epsilons), "sign noise": (*epsilons, 0.5, 1.0)}
    kinds |= dict.fromkeys((FGSM_ON[v] for v in VICTIMS), (*epsilons, 0.5, 1.0))
    kinds |= {"own fgsm": epsilons, "own pgd": epsilons}
    kinds |= {"own restarts": (*epsilons, 1.0), "own squares": epsilons}
    return Robustness(
        seed=seed,
        test_accuracy={victim: level[victim] + 40 for victim in VICTIMS},
        outcomes=tuple(outcome(kind, eps) for kind, sizes in kinds.items() for eps in sizes),
        no_gradient={"base": 0.0, "maps": 0.0, "originals": 2.5},
        chance=35.0,
    )


def dataset(class_names: tuple[str, ...] = EVIL) -> Dataset:
    """Six training and three test images of 4x4 pixels in two classes."""
    return Dataset(
        name="by-hand",
        train_images=images(6, 1, 4, 4),
        train_labels=torch.tensor([0, 0, 0, 0, 1, 1]),
        test_images=images(3, 1, 4, 4),
        test_labels=torch.tensor([0, 1, 1]),
        class_names=class_names,
        checksum="",
        origin="by hand",
    )


def distances() -> Distances:
    """Centroids of two classes, and two outliers of the first, one of the second."""
    apart = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.7])
    return Distances(images(2, 1, 4, 4), apart, {0: torch.tensor([3, 2]), 1: torch.tensor([5])})


def embedding(accuracy: float) -> Embedding:
    """Six points, four of the first class, two of the second."""
    return Embedding(images(6, 2).numpy(), torch.tensor([0, 0, 0, 0, 1, 1]), accuracy)


def maps() -> Maps:
    """Three maps of 4x4 pixels for two images, from -0.5 and up to 2."""
    values = (images(2, 3, 4, 4) - 0.5) * torch.tensor([1, 4]).reshape(2, 1, 1, 1)
    return Maps(images(2, 1, 8, 8), {"conv1": values})


def outlier_run(seed: int) -> OutlierRun:
    """Errors rise by one point per decile in training, by two in test (plus the seed).

    The control wins 20 points on the outliers, and loses 2 on the random tenth.
    """
    counts = [10] * 9 + [12 + seed]
    return OutlierRun(
        diverged=0,
        control=toy.pixel_cnn(),
        errors={
            "train": Errors(counts, [float(decile + seed) for decile in range(10)]),
            "test": Errors([1000] * 10, [2.0 * decile + seed for decile in range(10)]),
        },
        groups={
            "the outlying": Group(1200, {"no outliers": 60.0 + seed, "control": 80.0 + seed}),
            "the random": Group(12, {"no outliers": 97.0, "control": 95.0}),
        },
    )


def examples() -> Examples:
    """Two kinds of three images and what both models take them for."""
    seen = torch.tensor([[0, 1, 0], [1, 1, 0]])
    victims: tuple[Victim, ...] = ("base", "maps")
    return Examples(
        ("unchanged", "as released"),
        images(2, 3, 1, 4, 4),
        torch.tensor([0, 1, 0]),
        dict.fromkeys(victims, seen),
        sweep(),
    )


def sweep() -> Sweep:
    """Three images of two classes at three eps, all named right but for the last eps.

    There the base model is wrong about all under its own gradient, which is +1 everywhere; that
    of the map model is -1, and misleads neither.
    """
    shape, labels = (3, 1, 4, 4), torch.tensor([0, 1, 0])
    victims: tuple[Victim, ...] = ("base", "maps")
    right = labels[:, None].expand(3, 3)  # (images, eps)
    wrong = torch.tensor([[0, 0, 1], [1, 1, 0], [0, 0, 1]])
    pairs = [(a, b) for a in victims for b in victims]
    return Sweep(
        images(*shape),
        labels,
        (0.0, 0.1, 0.2),
        {"base": torch.ones(shape), "maps": -torch.ones(shape)},
        {pair: wrong if pair == ("base", "base") else right for pair in pairs},
        dict.fromkeys(pairs, torch.tensor([[0.994, 0.75, 0.5]] * 3, dtype=torch.float64)),
    )


def cached_run() -> Run:
    """Two epochs of a cache; the second has no similarity for the last class."""
    whole = history([50.0, 60.0], skipped=30)
    reports: list[Report] = [
        {"threshold": [0.25, 0.5], "similarity": [0.99, 0.98765]},
        {"threshold": [0.75, None], "similarity": [0.999, None]},
    ]
    pairs = zip(whole.epochs, reports, strict=True)
    epochs = tuple(epoch.model_copy(update={"policy": report}) for epoch, report in pairs)
    return Run(history=History(epochs=epochs), train_accuracy=None, test_accuracy=60.0)
