"""The training recipe of Zeiler and Fergus (2014), masum2022, section VI, at any size.

Stochastic gradient descent with momentum on random crops and flips, a learning rate that is lowered
when the error on validation images no longer falls, and filters that are scaled back where they
grow too large.  Dropout and the scale of the first weights belong to the network.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fmlib.models import seeded
from fmlib.training import History, TrainConfig, fit
from fmlib.visualization.filters import Renormalizing

Share = Annotated[float, Field(gt=0, le=1)]


class Recipe(BaseModel):
    """Settings of one training; the defaults are those published for ImageNet.

    Attributes:
        epochs: how often every image is visited.
        batch_size: images of a step.
        learning_rate: step size at the start.
        momentum: of stochastic gradient descent.
        dropout: share of hidden linear units set to zero.
        weight_scale: deviation of the weights at the start; None: `fmlib.models.zf_cnn`'s.
        crop: side of the crops, as a share of the image's; 1 takes whole images.
        flips: whether half of the images are mirrored.
        patience: epochs without a better accuracy on validation images before the learning rate
            is lowered; as published it was lowered by hand.
        factor: what it is multiplied by then.
        latest: share of the epochs after which it is lowered at the latest, so that all trainings
            end alike; None: however late.
        radius: largest root mean square of a filter; None scales no filter.  As published the
            pixels lie within -128..128.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=70, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    weight_scale: float | None = Field(default=0.01, gt=0, allow_inf_nan=False)
    crop: Share = 224 / 256
    flips: bool = True
    patience: int = Field(default=3, ge=1)
    factor: float = Field(default=0.1, gt=0, lt=1)
    latest: float | None = Field(default=None, gt=0, lt=1)
    radius: float | None = Field(default=0.1, gt=0, allow_inf_nan=False)


PUBLISHED = Recipe()
"""As masum2022, section VI, prints it (where it says 101 for the radius, its source has 0.1)."""
SMALL = PUBLISHED.model_copy(
    update={
        "epochs": 16,
        "batch_size": 32,
        "weight_scale": None,
        "latest": 0.75,
        "radius": 0.2,
    }
)
"""What serves small networks, first weights by which signals reach the output, and a radius for
pixels of deviation 1."""


def crop_side(side: int, share: float) -> int:
    """Side of a crop in pixels: a share of the image's, rounded; at least 1."""
    return max(1, round(side * share))


def centre(images: Tensor, share: float) -> Tensor:
    """The middle of images (N, C, H, W), (N, C, h, w): what a network trained on crops looks at."""
    rows, columns, high, wide = _places(images, share)
    return images[:, :, rows[-1] : rows[-1] + high, columns[-1] : columns[-1] + wide]


def ten_crops(images: Tensor, share: float) -> Tensor:
    """All that `Augmentation` makes of images (N, C, H, W): (N, 10, C, h, w).

    Five crops, at the corners and in the middle, then their mirror images (masum2022, VI).
    """
    rows, columns, high, wide = _places(images, share)
    crops = torch.stack(
        [
            images[:, :, top : top + high, left : left + wide]
            for top, left in zip(rows, columns, strict=True)
        ],
        dim=1,
    )  # (N, 5, C, h, w)
    return torch.cat((crops, crops.flip(4)), dim=1)


def _places(images: Tensor, share: float) -> tuple[list[int], list[int], int, int]:
    """Where the five crops begin, row and column, and their height and width."""
    height, width = images.shape[2:]
    high, wide = crop_side(height, share), crop_side(width, share)
    down, right = height - high, width - wide
    return [0, 0, down, down, down // 2], [0, right, 0, right, right // 2], high, wide


class Augmentation:
    """Random crops and flips of the images of a step: an `augment` of `fmlib.training.fit`.

    Each image is cropped to one of its corners or its middle, and mirrored or not: ten ways in
    all (masum2022, VI).

    Args:
        crop: side of the crops as a share of the image's, above 0 to 1.
        flips: whether half of the images are mirrored.
        seed: of the draws.
    """

    def __init__(self, crop: float, flips: bool, seed: int) -> None:
        self._crop, self._flips = crop, flips
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor) -> Tensor:
        """Crops (B, C, h, w) of images (B, C, H, W)."""
        if self._crop < 1:
            images = self._cropped(images)
        if not self._flips:
            return images
        mirrored = self._draw(2, len(images)).to(images.device) == 1
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)

    def _cropped(self, images: Tensor) -> Tensor:
        rows, columns, high, wide = _places(images, self._crop)
        drawn = self._draw(5, len(images))
        windows = images.unfold(2, high, 1).unfold(3, wide, 1)  # (B, C, ., ., h, w)
        places = (torch.tensor(place, device=images.device)[drawn] for place in (rows, columns))
        top, left = places
        return windows[torch.arange(len(images)), :, top, left]  # (B, C, h, w)

    def _draw(self, below: int, count: int) -> Tensor:
        return torch.randint(below, (count,), generator=self._generator)


class Plateau:
    """Lowers a learning rate when accuracy no longer rises: a `schedule` of `fmlib.training.fit`.

    Args:
        patience: epochs without a better accuracy than the best before, at least 1.
        factor: what the rate is multiplied by then; the wait starts anew.
        latest: number of the epoch after which the rate is lowered if it never was before.
    """

    def __init__(self, patience: int, factor: float, latest: int | None = None) -> None:
        self._patience, self._factor, self._latest = patience, factor, latest
        self._best, self._waited, self._epoch = -1.0, 0, 0

    def __call__(self, accuracy: float | None) -> float:
        """What the rate is multiplied by after an epoch with this accuracy: `factor`, or 1.

        Without an accuracy only the number of the epoch counts.
        """
        self._epoch += 1
        if accuracy is not None:
            self._waited = 0 if accuracy > self._best else self._waited + 1
            self._best = max(self._best, accuracy)
        if self._waited < self._patience and self._epoch != self._latest:
            return 1.0
        self._waited, self._latest = 0, None
        return self._factor


def annealing(recipe: Recipe) -> Plateau:
    """The schedule of a recipe."""
    latest = None if recipe.latest is None else max(1, round(recipe.latest * recipe.epochs))
    return Plateau(recipe.patience, recipe.factor, latest)


def learning_rates(recipe: Recipe, accuracies: Sequence[float]) -> list[float]:
    """The learning rate of every epoch, given the validation accuracies after them."""
    schedule, rate, found = annealing(recipe), recipe.learning_rate, []
    for accuracy in accuracies:
        found.append(rate)
        rate *= schedule(accuracy)
    return found


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    seed: int,
    validation: tuple[Tensor, Tensor] | None = None,
) -> History:
    """Train a network in place by the recipe.

    Args:
        model: takes crops (`crop_side`) and returns log-probabilities; a dropout layer in it draws
            by the seed, too.
        images: (N, C, H, W) in [0, 1], uncropped.
        labels: (N,) class numbers.
        recipe: settings; `dropout` and `weight_scale` are the network's and not looked at here.
        seed: orders batches, and draws crops, flips and dropout.
        validation: further images, uncropped, and labels, which the learning rate goes by; without
            them it is only lowered at the latest time.

    Returns:
        The history; its accuracies are those on the validation images.

    Raises:
        ValueError: as `fmlib.training.fit`.
    """
    config = TrainConfig(
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        momentum=recipe.momentum,
        seed=seed,
        device=str(images.device),
    )
    known = None if validation is None else (centre(validation[0], recipe.crop), validation[1])
    with seeded(seed):
        return fit(
            model,
            images,
            labels,
            config,
            policy=None if recipe.radius is None else Renormalizing(model, recipe.radius),
            test=known,
            augment=Augmentation(recipe.crop, recipe.flips, seed),
            schedule=annealing(recipe),
        )
