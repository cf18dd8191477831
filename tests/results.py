"""Results made by hand, as the experiments return them: for the tests of tables and figures."""

import torch
from torch import Tensor

from fmlib.data import Dataset
from fmlib.experiments.adversarial_robustness import (
    VICTIMS,
    Cell,
    Examples,
    Perturbation,
    Robustness,
    Victim,
)
from fmlib.experiments.caching import Comparison, Run
from fmlib.experiments.exploration import Distances, Embedding, Group, Maps, OutlierRun
from fmlib.experiments.feature_map_regularization import Accuracy, Row
from fmlib.exploration import Errors
from fmlib.training import Divergence, EpochResult, History
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


def row(batch_size: int, seed: int) -> Row:
    """Base 90 and 88 %, maps 70 and 69 %, originals 95 and 89 % (plus the seed)."""
    return Row(
        batch_size=batch_size,
        seed=seed,
        seen=300,
        negative_share=0.5,
        base=Accuracy(train=90.0 + seed, test=88.0 + seed),
        maps=Accuracy(train=70.0 + seed, test=69.0 + seed),
        originals=Accuracy(train=95.0 + seed, test=89.0 + seed),
        maps_history=history([50.0], 0),
    )


DIVERGENCE = Divergence(epoch=2, step=7, loss="nan")


def diverged_row(batch_size: int, seed: int) -> Row:
    """As `row`, but training on maps met an undefined loss."""
    whole = row(batch_size, seed)
    broken = whole.maps_history.model_copy(update={"divergence": DIVERGENCE})
    return whole.model_copy(update={"maps_history": broken})


def robustness(seed: int, epsilons: tuple[float, ...] = (0.1, 0.25)) -> Robustness:
    """Base 40, maps 30, originals 50 % whatever the perturbation (plus the seed)."""
    level: dict[Victim, float] = {"base": 40.0, "maps": 30.0, "originals": 50.0}
    kinds: tuple[Perturbation, ...] = ("released", "fgsm on base", "fgsm on maps", "sign noise")
    return Robustness(
        seed=seed,
        test_accuracy={victim: level[victim] + 40 + seed for victim in VICTIMS},
        held_out_accuracy={victim: level[victim] + 45 + seed for victim in VICTIMS},
        cells=tuple(
            Cell(perturbation=kind, eps=eps, victim=victim, accuracy=level[victim] + seed)
            for kind in kinds
            for eps in ((0.0,) if kind == "released" else ()) + epsilons
            for victim in VICTIMS
        ),
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
    )
