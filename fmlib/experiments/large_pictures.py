"""Pictures of what the classes of a large network look like, recorded as small PNG files."""

import base64
import io
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fmlib import models
from fmlib.data import Dataset
from fmlib.experiments.common import Count, InputScale, Rate, Result, RunConfig
from fmlib.experiments.feature_evolution import LARGE, Epochs
from fmlib.models import LargeName
from fmlib.training import TrainConfig, fit
from fmlib.visualization import pictures as measures
from fmlib.visualization.activation_maximization import Ascent, maximize
from fmlib.visualization.evolution import Snapshots
from fmlib.visualization.units import Unit

Start = Literal["scratch", "fine-tuned", "imagenet"]
STARTS: tuple[Start, ...] = get_args(Start)
PUBLISHED_CLASSES = {"tree frog": 31, "flamingo": 130, "pool table": 736, "cheeseburger": 933}
"""Numbers, in ImageNet, of the classes of punjabi2017 (its hamburger)."""
SIDE = 80
"""Pixels of a recorded picture's side."""


class PicturesRun(RunConfig):
    """One large network, its classes maximized at some epochs.

    `scratch` and `fine-tuned` are trained on the dataset, the latter from ImageNet's weights;
    `imagenet` is the network of all 1,000 classes as it is, and shows those of punjabi2017.
    An image folder is looked for in the folder where the command was started.
    """

    dataset: str = "image-folder:natural4"
    n_train: Count = 600
    n_test: Count = 200
    learning_rate: Rate = 3e-4
    input_scale: InputScale = "standardized"
    network: LargeName = "squeezenet"
    start: Start
    epochs: Annotated[int, Field(ge=0)] = 20
    shown_epochs: Epochs = (1, 2, 4, 8, 14, 20)
    batch_size: Count = 16

    @property
    def label(self) -> str:
        """Network and start."""
        return f"{self.network}-{self.start}"

    @property
    def cost(self) -> float:
        """Images trained on, and those climbed to, three passes each."""
        return self.epochs * self.n_train + 4 * LARGE.steps * len(self.shown_epochs)

    def train_config(self, epochs: int, batch_size: int, seed: int) -> TrainConfig:
        """As of all experiments, by Adam: Adadelta at its rate of 1 is too coarse here."""
        config = super().train_config(epochs, batch_size, seed)
        return config.model_copy(update={"optimizer": "adam"})

    def run(self) -> "Pictures":
        """Train, and maximize every class at the epochs shown."""
        dataset = self.load()
        shape, dtype = dataset.image_shape, self.arithmetic[0]
        if self.start == "imagenet":
            model = models.imagenet(self.network, dtype)
            layer = models.class_layer(model)
            units = [Unit(layer, number) for number in PUBLISHED_CLASSES.values()]
            found = {0: maximize(model, units, shape, LARGE, self.seed)}
            return self._result(tuple(PUBLISHED_CLASSES), (), found)
        snapshots = Snapshots(2**30, self.shown_epochs)
        accuracies = tuple(self._train(dataset, snapshots))
        layer = models.class_layer(next(snapshots.models())[1])
        units = [Unit(layer, number) for number in range(dataset.n_classes)]
        found = {
            epoch: maximize(model, units, shape, LARGE, self.seed)
            for epoch, model in snapshots.models()
        }
        return self._result(dataset.class_names, accuracies, found)

    def _train(self, dataset: Dataset, snapshots: Snapshots) -> list[float]:
        """Validation accuracies of a training whose weights are kept at the epochs shown."""
        dtype, _ = self.arithmetic
        model: Any = models.NETWORKS[self.network](
            dataset.image_shape, dataset.n_classes, seed=self.seed, dtype=dtype
        )
        if self.start == "fine-tuned":
            models.with_weights(model, models.imagenet(self.network, dtype).state_dict())
        history = fit(
            model,
            dataset.train_images,
            dataset.train_labels,
            self.train_config(self.epochs, self.batch_size, self.seed),
            test=(dataset.test_images, dataset.test_labels),
            after_epoch=snapshots,
        )
        return history.test_accuracies

    def _result(
        self, names: tuple[str, ...], accuracies: tuple[float, ...], found: dict[int, Ascent]
    ) -> "Pictures":
        drawn = self.seed == 0  # of further seeds only the numbers are kept
        return Pictures(
            class_names=names,
            accuracies=accuracies,
            epochs=tuple(found),
            activations=tuple(tuple(one.activations.tolist()) for one in found.values()),
            probabilities=tuple(tuple(one.probabilities.tolist()) for one in found.values()),
            variation=tuple(_mean(measures.total_variation, one) for one in found.values()),
            confusion=tuple(measures.confusion(one.pictures) for one in found.values()),
            pictures=tuple(tuple(map(png, small(one.pictures))) for one in found.values())
            if drawn
            else (),
        )


def _mean(measure: Any, found: Ascent) -> float:
    return float(measure(found.pictures).mean())


class Pictures(Result):
    """Validation accuracies in percent by epoch, and each class's picture at the epochs shown.

    Epoch 0 is ImageNet's network as it is.  `activations` and `probabilities` are those that the
    pictures reach, `variation` and `confusion` as in `fmlib.visualization.pictures`; `pictures`
    are PNG files of 80x80 pixels in base64, of the seed 0 alone, their contrast stretched alike.
    """

    class_names: tuple[str, ...]
    accuracies: tuple[float, ...]
    epochs: tuple[int, ...]
    activations: tuple[tuple[float, ...], ...]
    probabilities: tuple[tuple[float, ...], ...]
    variation: tuple[float, ...]
    confusion: tuple[float, ...]
    pictures: tuple[tuple[str, ...], ...]


def small(pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W) stretched for display and reduced to 80x80 pixels."""
    shown = measures.stretched(pictures)
    return F.interpolate(shown, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)


def png(picture: Tensor) -> str:
    """A picture (3, H, W) in [0, 1] as a PNG file in base64."""
    from PIL import Image

    levels = (255 * picture).round().to("cpu", torch.uint8).permute(1, 2, 0).contiguous()
    file = io.BytesIO()
    Image.fromarray(levels.numpy()).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def picture_of(text: str) -> Tensor:
    """The picture (3, H, W) in [0, 1] that `png` wrote."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        levels = torch.tensor(np.asarray(image.convert("RGB")))
    return levels.permute(2, 0, 1).double() / 255  # (3, H, W)
