"""Chapter 07, second half: units and concepts (masum2022, III-C), and the chapter's settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import Field
from torch import Tensor, nn

from fmlib import data
from fmlib.experiments.common import Count, Result, setting
from fmlib.experiments.feature_evolution import Epochs
from fmlib.experiments.inversion import Inverting, State, states
from fmlib.experiments.looks import Looking, LookingRun, LookingSettings, train
from fmlib.visualization.broden import BrodenImages
from fmlib.visualization.concepts import (
    SIDE,
    Concept,
    ConceptImages,
    Labelled,
    LabelledImages,
)
from fmlib.visualization.dissection import CUSTOMARY, Dissection, dissect, masks
from fmlib.visualization.net2vec import Combinations, combine

GENERATED = "generated"
BRODEN_PREFIX = "broden:"
SIGNIFICANT = 0.05
BATCH = 100
"""Most generated images of a batch."""
TRAIN_SEED, VALIDATION_SEED = 1_000_000, 2_000_000
"""Added to a seed for the images that combinations are learnt from and tested on."""
SMALL_SETS = (20, 60, 100, 200, 500)
"""Numbers of images for which is shown what chance reaches."""
SMALL_BATCH = 20
"""Images of a batch there; each is paired with 19 others."""


AtLeastTwenty = Annotated[int, Field(ge=SMALL_BATCH)]
"""Each image is paired with 19 others."""


@dataclass(frozen=True)
class Grey:
    """Labelled images (N, 3, H, W) as (N, 1, H, W): the mean of the colours."""

    coloured: LabelledImages

    @property
    def concepts(self) -> Sequence[Concept]:
        """All concepts that the labels can name."""
        return self.coloured.concepts

    def __iter__(self) -> Iterator[Labelled]:
        """The batches, the same ones each time."""
        for images, labels in self.coloured:
            yield Labelled(images.mean(dim=1, keepdim=True), labels)


class Dissecting(Looking):
    """What dissection needs, in the chapter and in recorded runs."""

    concepts: str
    n_concepts: AtLeastTwenty
    n_combined: Count

    def labelled(self, count: int, seed: int, split: str | None = None) -> LabelledImages:
        """Labelled images in this arithmetic, as seen: generated, or those of a folder."""
        dtype, _ = self.arithmetic
        found: LabelledImages
        if self.concepts == GENERATED:
            block = ceil(count / ceil(count / BATCH))  # so that no batch is much smaller
            found = ConceptImages(count, seed, SIDE, block, dtype)
        else:
            folder = Path(self.concepts.removeprefix(BRODEN_PREFIX)).expanduser()
            found = BrodenImages(folder, split, count=count, dtype=dtype)
        return self.as_seen(found)

    def as_seen(self, images: LabelledImages) -> LabelledImages:
        """Labelled images in as many channels as those of the dataset."""
        channels, *_ = data.load(self.dataset, 1, 1).image_shape
        return Grey(images) if channels == 1 else images


class InversionSettings(LookingSettings, Inverting, Dissecting):
    """Settings of chapter 07."""

    shown_epochs: Epochs = setting(
        (0, 1, 2, 6),
        "epochs after which layers are inverted; 0 is before training",
        smoke=(0, 1),
        paper=(0, 1, 2, 4, 8, 14, 23),
    )
    n_inverted: Count = setting(6, "test images that are found again", smoke=2, paper=100)
    steps: Count = setting(150, "gradients of an inversion", smoke=4, paper=400)
    n_decoder: Count = setting(
        2000, "training images of the up-convolutional networks", smoke=60, paper=8000
    )
    decoder_epochs: Count = setting(3, "their epochs", smoke=1, paper=10)
    concepts: str = setting(
        GENERATED, "labelled images: generated, or broden:PATH for a folder in Broden's layout"
    )
    n_concepts: AtLeastTwenty = setting(
        1000, "labelled images of the dissection", smoke=60, paper=10_000
    )
    n_combined: Count = setting(
        400, "labelled images that combinations are learnt from, and tested on", smoke=40,
        paper=2000,
    )  # fmt: skip
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(0, "seed of weights, batches and noise")

    def check(self) -> Self:
        """Also refuse unknown concepts."""
        super().check()
        if self.concepts != GENERATED and not self.concepts.startswith(BRODEN_PREFIX):
            raise ValueError(
                f"concepts is {self.concepts!r}; choose generated or broden:PATH with the folder"
            )
        self.labelled(self.n_concepts, self.seed)  # a folder is looked into
        return self


def dissections(
    settings: Dissecting, model: nn.Module, seed: int, count: int | None = None
) -> list[Dissection]:
    """Every layer's units, labelled."""
    images = settings.labelled(count or settings.n_concepts, seed)
    return [dissect(model, layer, images) for layer in settings.layers]


def combinations(settings: Dissecting, model: nn.Module, layer: str, seed: int) -> Combinations:
    """Concepts as combinations of a layer's units, learnt from some images, tested on others."""
    learnt, tested = (
        settings.labelled(settings.n_combined, seed + more, split)
        for more, split in ((TRAIN_SEED, "train"), (VALIDATION_SEED, "val"))
    )
    return combine(model, layer, learnt, tested)


class ShownUnit(NamedTuple):
    """A unit with the images in which most of its pixels are active, and where these are.

    `images` (k, C, H, W) and `active` (k, h, w).
    """

    layer: str
    unit: int
    label: Concept
    iou: float
    images: Tensor
    active: Tensor


def shown_units(
    settings: Dissecting, model: nn.Module, found: Dissection, seed: int, columns: int = 5
) -> list[ShownUnit]:
    """The unit that fits its concept best and the one in the middle, with images of a batch."""
    batch, active = next(
        masks(model, found.layer, settings.labelled(BATCH, seed), found.thresholds.values)
    )
    order = found.best.sort(descending=True, stable=True).indices.tolist()
    shown = []
    for unit in (order[0], order[len(order) // 2]):
        counts = active[:, unit].sum(dim=(1, 2))
        most = counts.sort(descending=True, stable=True).indices[:columns]
        one = found.labels[unit], found.best[unit].item(), batch.images[most], active[most, unit]
        shown.append(ShownUnit(found.layer, unit, *one))
    return shown


class Chance(NamedTuple):
    """Best overlaps of a layer's units with so many images: their own, and shuffled ones."""

    images: int
    own: float
    shuffled: float
    share: float


def chance(
    settings: Dissecting, model: nn.Module, layer: str, seed: int, sizes: Sequence[int] = SMALL_SETS
) -> list[Chance]:
    """What shuffled units reach by chance in sets of few images.

    `share` is the percentage of shuffled units at or above the customary 0.04.
    """
    dtype, _ = settings.arithmetic
    found = []
    for size in sizes:
        images = ConceptImages(size, seed, SIDE, SMALL_BATCH, dtype)
        one = dissect(model, layer, settings.as_seen(images))
        found.append(Chance(size, one.best.mean().item(), *_shuffled(one)))
    return found


def _shuffled(found: Dissection) -> tuple[float, float]:
    reached = 100 * (found.shuffled >= CUSTOMARY).double().mean().item()
    return found.shuffled.mean().item(), reached


# --- recorded runs -----------------------------------------------------------------------------


class DissectionRun(LookingRun, Dissecting):
    """One recorded network whose units are labelled; all images are bundled or generated."""

    shown_epochs: Epochs = (0, 23)
    concepts: str = GENERATED
    n_concepts: AtLeastTwenty = 10_000
    n_combined: Count = 1000

    @property
    def label(self) -> str:
        """Network and number of labelled images."""
        return f"{self.network.replace('_', '-')}-{self.n_concepts}"

    @property
    def cost(self) -> float:
        """Images computed."""
        return self.epochs * self.n_train + 2 * len(self.layers) * self.n_concepts

    def run(self) -> "Dissections":
        """Train the network, and label its units and those of the network before."""
        network = train(self, self.seed)
        found: dict[State, list[Dissection]] = {}
        combined: dict[State, dict[str, Combinations]] = {}
        for state, model in states(network).items():
            found[state] = dissections(self, model, self.seed)
            combined[state] = {
                layer: combinations(self, model, layer, self.seed) for layer in self.layers
            }
        last = self.layers[-1]
        return Dissections(
            accuracies=tuple(network.history.test_accuracies),
            units={
                state: {one.layer: _units(one) for one in some} for state, some in found.items()
            },
            combined={
                state: {layer: _combined(one) for layer, one in some.items()}
                for state, some in combined.items()
            },
            chance={
                one.images: ChanceFound(own=one.own, shuffled=one.shuffled, share=one.share)
                for one in chance(self, network.model, last, self.seed)
            },
        )


def _units(found: Dissection) -> "UnitsFound":
    categories = [concept.category for concept in found.labels]
    shuffled, by_chance = _shuffled(found)
    significant = (found.p_values <= SIGNIFICANT).double()
    return UnitsFound(
        iou=found.best.mean().item(),
        shuffled=shuffled,
        significant=100 * significant.mean().item(),
        customary=100 * (found.best >= CUSTOMARY).double().mean().item(),
        customary_shuffled=by_chance,
        categories={name: categories.count(name) for name in dict.fromkeys(_kinds(found))},
    )


def _kinds(found: Dissection) -> list[str]:
    return [concept.category for concept in found.concepts]


def _combined(found: Combinations) -> "CombinedFound":
    kinds = [concept.category for concept in found.concepts]
    measures = ("single", "combined", "single_free", "combined_free")
    return CombinedFound.model_validate(
        {name: getattr(found, name).mean().item() for name in measures}
        | {
            "categories": {
                kind: {
                    name: _mean_of_kind(getattr(found, name).tolist(), kinds, kind)
                    for name in measures
                }
                for kind in dict.fromkeys(kinds)
            }
        }
    )


def _mean_of_kind(values: Sequence[float], kinds: Sequence[str], kind: str) -> float:
    own = [value for value, one in zip(values, kinds, strict=True) if one == kind]
    return sum(own) / len(own)


class UnitsFound(Result):
    """Overlaps of a layer's units with their best concepts.

    Attributes:
        iou: mean intersection over union, 0 to 1.
        shuffled: that of units paired with other images' masks.
        significant: percent of units beyond all their shuffled selves.
        customary, customary_shuffled: percent of units, and of shuffled ones, at 0.04 or above.
        categories: how many units have a best concept of each category.
    """

    iou: float
    shuffled: float
    significant: float
    customary: float
    customary_shuffled: float
    categories: dict[str, int]


class CombinedFound(Result):
    """Mean intersection over union of concepts, as in `Combinations`; by category likewise."""

    single: float
    combined: float
    single_free: float
    combined_free: float
    categories: dict[str, dict[str, float]]


class ChanceFound(Result):
    """As in `Chance`."""

    own: float
    shuffled: float
    share: float


class Dissections(Result):
    """What units and combinations have to do with concepts, of one seed.

    Attributes:
        accuracies: test accuracy in percent by epoch.
        units: by state of the network and layer.
        combined: likewise.
        chance: by number of images, of the last layer.
    """

    accuracies: tuple[float, ...]
    units: dict[State, dict[str, UnitsFound]]
    combined: dict[State, dict[str, CombinedFound]]
    chance: dict[int, ChanceFound]
