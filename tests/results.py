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
from fmlib.experiments.exploration import Distances, Embedding, Maps
from fmlib.experiments.feature_map_regularization import MODELS, Accuracy, Model, Row, Trial, WayRun
from fmlib.training import Divergence, EpochResult, History

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
    return Maps(images(2, 1, 8, 8), torch.tensor([0, 1]), {"conv1": values}, 90.0)


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
