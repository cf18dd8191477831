"""Chapter 04: base model and feature-map model on perturbed images, with controls."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from fmlib import attacks
from fmlib.experiments.common import Count, Settings, continue_training
from fmlib.training import Divergence, evaluate, fit, predict

Victim = Literal["base", "maps", "originals"]
VICTIMS: tuple[Victim, ...] = ("base", "maps", "originals")
Perturbation = Literal["released", "fgsm on base", "fgsm on maps", "sign noise"]
Eps = Annotated[float, Field(ge=0, le=1)]


class RobustnessSettings(Settings):
    """Settings of chapter 04."""

    n_held_out: Count = Field(description="images kept from training, to be attacked")
    batch_size: Count = Field(description="batch size of all training")
    epochs: Count = Field(description="epochs of the base model")
    map_epochs: Count = Field(description="epochs on the feature maps")
    map_images: Count = Field(description="images whose feature maps are trained on")
    layer: str = Field(description="layer whose feature maps become images")
    epsilons: Annotated[tuple[Eps, ...], Field(strict=False, min_length=1)] = Field(
        description="largest changes of a pixel, 0 to 1"
    )
    seeds: Count = Field(description="number of seeds; they are 0, 1, ...")

    def images_needed(self) -> int:
        """Training images and held-out images."""
        return self.n_train + self.n_held_out

    @model_validator(mode="after")
    def _enough_images(self) -> Self:
        if self.map_images > self.n_train:
            raise ValueError(f"map_images is {self.map_images}, more than n_train = {self.n_train}")
        return self


_QUICK = {
    "dataset": "mnist",
    "n_train": 5000,
    "n_test": 1000,
    "learning_rate": 0.1,
    "input_scale": "unit",
    "n_held_out": 2000,
    "batch_size": 64,
    "epochs": 3,
    "map_epochs": 2,
    "map_images": 500,
    "layer": "conv1",
    "epsilons": (0.15, 0.25),
    "seeds": 2,
}
PROFILES = {
    "smoke": _QUICK
    | {"n_train": 200, "n_test": 100, "n_held_out": 100, "epochs": 1, "map_epochs": 1}
    | {"map_images": 10},
    "quick": _QUICK,
    "paper": _QUICK
    | {"n_train": 50_000, "n_test": 10_000, "n_held_out": 10_000, "epochs": 10}
    | {"map_images": 5_000, "seeds": 5, "learning_rate": 0.01, "input_scale": "released"},
}


class Cell(BaseModel):
    """Accuracy in percent of one model on the held-out images after one perturbation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    perturbation: Perturbation
    eps: float
    victim: Victim
    accuracy: float


class Robustness(BaseModel):
    """Everything measured with one seed; accuracies in percent, by model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    test_accuracy: dict[Victim, float]
    held_out_accuracy: dict[Victim, float]
    cells: tuple[Cell, ...]
    maps_divergence: Divergence | None = None

    def clean_accuracy(self, split: Literal["test", "held_out"], victim: Victim) -> float | None:
        """Accuracy on unchanged images; None for a map model whose training diverged."""
        accuracies = self.test_accuracy if split == "test" else self.held_out_accuracy
        return None if victim == "maps" and self.maps_divergence else accuracies[victim]

    def accuracy(self, perturbation: Perturbation, eps: float, victim: Victim) -> float | None:
        """The accuracy of one cell; None if it needs a map model whose training diverged."""
        if self.maps_divergence and "maps" in (victim, perturbation.split()[-1]):
            return None
        found = [
            cell.accuracy
            for cell in self.cells
            if (cell.perturbation, cell.eps, cell.victim) == (perturbation, eps, victim)
        ]
        if not found:
            raise ValueError(f"{perturbation!r} at eps {eps} on {victim!r} was not measured")
        return found[0]


class Examples(NamedTuple):
    """A few held-out images and what an attack of equal eps makes of them.

    `images` has shape (kinds, count, C, H, W); `predictions` is (kinds, count) by model.
    """

    kinds: tuple[str, ...]
    images: Tensor
    labels: Tensor
    predictions: dict[Victim, Tensor]


class Trained(NamedTuple):
    """The three models of one seed and the images that they are judged on."""

    models: dict[Victim, nn.Sequential]
    images: Tensor
    labels: Tensor
    test_accuracy: dict[Victim, float]
    maps_divergence: Divergence | None


def train(settings: RobustnessSettings, seed: int) -> Trained:
    """Base model, its copy trained on feature maps, and its copy trained on the originals."""
    dataset = settings.load()
    images, labels = dataset.train_images, dataset.train_labels
    n = settings.n_train
    base = settings.model(dataset, seed)
    config = settings.train_config(settings.epochs, settings.batch_size, seed)
    fit(base, images[:n], labels[:n], config)
    chosen = settings.map_images
    config = settings.train_config(settings.map_epochs, settings.batch_size, seed)
    continued = continue_training(base, images[:chosen], labels[:chosen], settings.layer, config)
    trained: dict[Victim, nn.Sequential] = {
        "base": base,
        "maps": continued.maps,
        "originals": continued.originals,
    }
    test = dataset.test_images, dataset.test_labels
    accuracies = {name: evaluate(model, *test) for name, model in trained.items()}
    divergence = continued.maps_history.divergence
    return Trained(trained, images[n:], labels[n:], accuracies, divergence)


def run(settings: RobustnessSettings) -> tuple[list[Robustness], Examples]:
    """The runs behind Fig. 10, one per seed, and examples from the first."""
    measured = [run_once(settings, seed) for seed in range(settings.seeds)]
    return [robustness for robustness, _ in measured], measured[0][1]


def run_once(settings: RobustnessSettings, seed: int) -> tuple[Robustness, Examples]:
    """Train the models of one seed and measure them on every perturbation.

    The released perturbation is measured at eps 0 too, where only its clamp is left.
    """
    trained = train(settings, seed)
    images, labels = trained.images, trained.labels
    base_signs = attacks.gradient_sign(trained.models["base"], images, labels)
    maps_signs = attacks.gradient_sign(trained.models["maps"], images, labels)
    perturb: dict[Perturbation, Callable[[float], Tensor]] = {
        "released": lambda eps: attacks.add_signs_as_released(images, base_signs, eps),
        "fgsm on base": lambda eps: attacks.add_signs(images, base_signs, eps),
        "fgsm on maps": lambda eps: attacks.add_signs(images, maps_signs, eps),
        "sign noise": lambda eps: attacks.sign_noise(images, eps, seed),
    }
    cells = []
    for name, perturbed_by in perturb.items():
        clamp_alone = [0.0] if name == "released" else []
        for eps in sorted({*clamp_alone, *settings.epsilons}):
            perturbed = perturbed_by(eps)
            for victim, model in trained.models.items():
                accuracy = evaluate(model, perturbed, labels)
                cells.append(Cell(perturbation=name, eps=eps, victim=victim, accuracy=accuracy))
    robustness = Robustness(
        seed=seed,
        test_accuracy=trained.test_accuracy,
        held_out_accuracy={
            victim: evaluate(model, images, labels) for victim, model in trained.models.items()
        },
        cells=tuple(cells),
        maps_divergence=trained.maps_divergence,
    )
    return robustness, _examples(trained, max(settings.epsilons), seed)


def _examples(trained: Trained, eps: float, seed: int, count: int = 8) -> Examples:
    """The first held-out images: unchanged, by sign noise, by FGSM and as released."""
    images, labels = trained.images[:count], trained.labels[:count]
    base, maps = trained.models["base"], trained.models["maps"]
    rows = {
        "unchanged": images,
        "sign noise": attacks.sign_noise(images, eps, seed),
        "FGSM by base model": attacks.fgsm(base, images, labels, eps),
        "FGSM by map model": attacks.fgsm(maps, images, labels, eps),
        "as released": attacks.released_perturbation(base, images, labels, eps),
    }
    stacked = torch.stack(list(rows.values()))  # (kinds, count, C, H, W)
    flat = stacked.flatten(0, 1)
    victims: tuple[Victim, ...] = ("base", "maps")
    predictions = {
        victim: predict(trained.models[victim], flat).reshape(len(rows), -1) for victim in victims
    }
    return Examples(tuple(rows), stacked, labels, predictions)
