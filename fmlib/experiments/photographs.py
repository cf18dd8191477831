"""What a large network sees in two photographs, recorded: chapter 06 on ImageNet's network.

The photographs are the sample images of scikit-learn, under CC BY 2.0 (`CREDITS`),
https://creativecommons.org/licenses/by/2.0/.
"""

import hashlib
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import data, models
from fmlib.data import Dataset
from fmlib.experiments.common import Count, InputScale, Result, RunConfig
from fmlib.experiments.large_pictures import png
from fmlib.experiments.looks import fall
from fmlib.features import feature_maps
from fmlib.models import LargeName
from fmlib.visualization import pictures as measures
from fmlib.visualization.occlusion import OcclusionMaps, occlusion
from fmlib.visualization.receptive_field import receptive_fields
from fmlib.visualization.top_activations import top_activations, top_projections

CREDITS = {
    "flower": "vultilion, CC BY 2.0, https://www.flickr.com/photos/vultilion/6056698931/",
    "china": "danielbuechele, CC BY 2.0, https://www.flickr.com/photos/danielbuechele/6061409035/",
}
"""The photographs, and whose they are by the links in scikit-learn's note on its images.

In words that note names danielbuechele for both.
"""
SIDE = 100
"""Pixels of the longest side of a recorded picture."""
NAMED = 3
"""Classes that are named of each photograph."""
DIGITS = 4
"""Decimal places of the occlusion maps."""


@lru_cache(maxsize=1)
def load_photographs(dtype: torch.dtype) -> Dataset:
    """The photographs as scikit-learn has them, 427x640 pixels; they stand for all images.

    Nobody has labelled them as ImageNet's images are: classes are the photographs' own names.
    """
    from sklearn.datasets import load_sample_image  # imported here: it takes a second

    pixels = np.stack([load_sample_image(f"{name}.jpg") for name in CREDITS])  # (2, 427, 640, 3)
    labels = np.arange(len(pixels), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype) / 255  # (2, 3, 427, 640)
    numbers = torch.from_numpy(labels.astype(np.int64))
    return Dataset(
        name="photographs",
        train_images=images,
        train_labels=numbers,
        test_images=images,
        test_labels=numbers,
        class_names=tuple(CREDITS),
        checksum=hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest(),
        origin="sample images of scikit-learn",
    )


class PhotographsRun(RunConfig):
    """ImageNet's network as it is, looking at two photographs; nothing is trained.

    They are cropped to the square in their middle and resized to `side` pixels.  `layers` are
    those whose strongest activation is projected, `square` and `stride` those of the occlusion.
    """

    dataset: Literal["photographs"] = "photographs"
    n_train: Count = len(CREDITS)
    n_test: Count = len(CREDITS)
    input_scale: InputScale = "standardized"
    network: LargeName = "squeezenet"
    layers: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = (
        *("features.4", "features.7", "features.10", "features.12"),
    )
    side: Count = 224
    square: Count = 32
    stride: Count = 8

    @property
    def label(self) -> str:
        """The network."""
        return self.network

    @property
    def cost(self) -> float:
        """Copies of the photographs that the square occludes."""
        return len(CREDITS) * ((self.side - self.square) / self.stride + 1) ** 2

    def load(self) -> Dataset:
        """The photographs, not yet cropped, in the type and on the device of this run."""
        dtype, device = self.arithmetic
        return load_photographs(dtype).to(device)

    def check_data(self) -> None:
        """Also refuse where the network's weights are neither there nor to be downloaded."""
        load_photographs(self.arithmetic[0])
        data.imagenet_weights(self.network)

    def run(self) -> "Photographs":
        """Look at each photograph in every way."""
        dtype, device = self.arithmetic
        model = models.imagenet(self.network, dtype).to(device).eval()
        dataset = self.load()
        images = square_of(dataset.test_images, self.side)
        names = class_names(self.network)
        seen = [
            self._look(model, image, name, names)
            for image, name in zip(images, dataset.class_names, strict=True)
        ]
        return Photographs(seen=tuple(seen))

    def _look(
        self, model: nn.Sequential, image: Tensor, name: str, names: tuple[str, ...]
    ) -> "Photograph":
        with torch.no_grad():
            most = model(image[None])[0].softmax(dim=0).topk(NAMED)
        hidden = occlusion(model, image, self.layers[-1], square=self.square, stride=self.stride)
        return Photograph(
            name=name,
            credit=f"{CREDITS[name]}; cropped and resized",
            side=self.side,
            picture=png(at_most(image, SIDE)),
            classes=tuple(names[number] for number in most.indices.tolist()),
            probabilities=tuple(most.values.tolist()),
            occluded=_occluded(hidden, names),
            projections=tuple(_projected(model, image, layer) for layer in self.layers),
        )


def square_of(images: Tensor, side: int) -> Tensor:
    """The square in the middle of images (N, C, H, W), resized to (N, C, side, side)."""
    height, width = images.shape[2:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    middle = images[..., top : top + short, left : left + short]
    resized = F.interpolate(middle, (side, side), mode="bilinear", antialias=True)
    return resized.clamp(0, 1)


def at_most(picture: Tensor, side: int) -> Tensor:
    """A picture (C, H, W) reduced until no side is longer than this; smaller ones stay."""
    size = [min(side, length) for length in picture.shape[1:]]
    if size == list(picture.shape[1:]):
        return picture
    return F.interpolate(picture[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def class_names(network: LargeName) -> tuple[str, ...]:
    """torchvision's names of ImageNet's 1,000 classes."""
    from torchvision.models import SqueezeNet1_1_Weights, VGG16_Weights

    kind = {"squeezenet": SqueezeNet1_1_Weights, "vgg16": VGG16_Weights}[network]
    return tuple(map(str, kind.IMAGENET1K_V1.meta["categories"]))


# --- occlusion -----------------------------------------------------------------------------


class Occluded(Result):
    """What hiding a part does to the most probable class.

    Attributes:
        logit_whole: its logit in the photograph as it is.
        logit, probability: by the place of the square, rows of numbers with four decimals.
        predictions: at how many places each class is the most probable one.
        centre, border: mean fall of the logit where these are hidden (`seeing.fall`).
    """

    logit_whole: float
    logit: tuple[tuple[float, ...], ...]
    probability: tuple[tuple[float, ...], ...]
    predictions: dict[str, int]
    centre: float
    border: float


def _occluded(found: OcclusionMaps, names: tuple[str, ...]) -> Occluded:
    numbers, counts = found.occluded.prediction.flatten().cpu().unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    lost = fall(found)
    return Occluded(
        logit_whole=found.unoccluded.logit.item(),
        logit=_rows(found.occluded.logit),
        probability=_rows(found.occluded.probability),
        predictions={names[numbers[at].item()]: counts[at].item() for at in order.tolist()},
        centre=lost.centre,
        border=lost.border,
    )


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(value, DIGITS) for value in row) for row in values.tolist())


# --- deconvnet -----------------------------------------------------------------------------


class Box(NamedTuple):
    """Pixels of the square image: upper left corner, which may lie beyond it, and size."""

    top: int
    left: int
    height: int
    width: int

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """First row and column, and the first ones below and to the right."""
        return self.top, self.left, self.top + self.height, self.left + self.width


class Projected(Result):
    """The strongest activation of a layer, projected, and the patch of the image behind it.

    Both are PNG files of at most 100x100 pixels in base64 and show the unit's receptive field,
    `box`.  The projection is grey for zero and stretched to its own contrast, whatever the
    activation is; what lies beyond the image is white in the patch.
    """

    layer: str
    feature_map: int
    activation: float
    box: Box
    projection: str
    patch: str


def _projected(model: nn.Sequential, image: Tensor, layer: str) -> Projected:
    maps = feature_maps(model, image[None], [layer])[layer][0]  # (maps, P, Q)
    number = int(maps.amax(dim=(1, 2)).argmax())
    top = top_activations(model, [image[None]], layer, [number], 1)
    [found] = top_projections(model, [image[None]], top)
    shown = measures.stretched(measures.GREY + found.projections)[0]  # (C, h, w)
    patch = torch.where(found.inside[0], found.patches[0], torch.ones_like(found.patches[0]))
    return Projected(
        layer=layer,
        feature_map=number,
        activation=top.values.item(),
        box=_box(model, top.unit(0, 0).position, layer, number, image),
        projection=png(at_most(shown, SIDE)),
        patch=png(at_most(patch, SIDE)),
    )


def _box(
    model: nn.Sequential, position: tuple[int, int] | None, layer: str, number: int, image: Tensor
) -> Box:
    """The receptive field of a unit, a whole side of the image where it is longer than that."""
    channels, height, width = image.shape
    field = receptive_fields(model, layer, (channels, height, width))[number]
    if field.size is None or position is None:
        return Box(0, 0, height, width)
    spans = [
        (0, side) if size >= side else (start, size)
        for start, size, side in zip(
            field.start(position), field.size, (height, width), strict=True
        )
    ]
    return Box(spans[0][0], spans[1][0], spans[0][1], spans[1][1])


# --- what is recorded ----------------------------------------------------------------------


class Photograph(Result):
    """What the network makes of one photograph.

    Attributes:
        name, credit: which it is; author, licence and source.
        side: pixels of the square that the network sees.
        picture: this square, as a PNG file of 100x100 pixels in base64.
        classes, probabilities: the three most probable classes of ImageNet, 0 to 1.
        occluded: what hiding parts does to the first of them.
        projections: the strongest activation of every layer.
    """

    name: str
    credit: str
    side: int
    picture: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    occluded: Occluded
    projections: tuple[Projected, ...]


class Photographs(Result):
    """What a large network sees in the photographs."""

    seen: tuple[Photograph, ...]
