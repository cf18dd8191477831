"""What all experiments share: what is trained on what, settings and checks, copies, processes."""

import copy
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import joblib
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fmlib import data, models
from fmlib.training import History, TrainConfig, fit

Argument = TypeVar("Argument")
Answer = TypeVar("Answer")

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Counts = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
Rates = Annotated[tuple[Rate, ...], Field(strict=False, min_length=1)]

InputScale = Literal["released", "255", "unit", "standardized"]

LIVE_DTYPE = torch.float64
"""Live chapters compute in float64 from the drawing of the weights on: the same digits on
every machine, whatever its number of threads and kernels."""


PROFILES = ("smoke", "quick", "paper")


def setting(quick: Any, description: str, **others: Any) -> Any:
    """A setting's value in the profile `quick`, its meaning, and its value where others differ."""
    return Field(quick, description=description, json_schema_extra=others)


class Training(BaseModel):
    """What is trained on what: the base of the chapters' settings and of the recorded runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: str
    n_train: Count
    n_test: Count
    learning_rate: Rate
    input_scale: InputScale

    @property
    def arithmetic(self) -> tuple[torch.dtype, str]:
        """Type of all numbers, and the device that computes."""
        return LIVE_DTYPE, "cpu"

    def images_needed(self) -> int:
        """Training images that the experiment reads, held-out ones included."""
        return self.n_train

    def load(self) -> data.Dataset:
        """The dataset, in the type and on the device of these settings."""
        dtype, device = self.arithmetic
        dataset = data.load(self.dataset, self.images_needed(), self.n_test, dtype=dtype)
        return dataset.to(device)

    def model(
        self,
        dataset: data.Dataset,
        seed: int,
        network: models.ModelName = "base_cnn",
        channels: int | None = None,
        **options: Any,
    ) -> nn.Sequential:
        """A fresh network with these settings' input scale, weights drawn by `seed`.

        `channels` replaces the images' number of channels; `options` go to the network, such
        as `activation="leaky_relu"` to the base CNN.
        """
        chosen = self.input_scale
        if chosen == "released":
            chosen = "255" if self.dataset.split(":")[0] == "mnist" else "unit"
        dtype, device = self.arithmetic
        scale = models.scale_layer(chosen, dtype, dataset.train_images)
        shape = (channels or dataset.image_shape[0], *dataset.image_shape[1:])
        build = models.NETWORKS[network]
        model = build(shape, dataset.n_classes, seed=seed, dtype=dtype, scale=scale, **options)
        return model.to(device)

    def train_config(self, epochs: int, batch_size: int, seed: int) -> TrainConfig:
        """Settings of one training run."""
        return TrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=self.learning_rate,
            seed=seed,
            device=self.arithmetic[1],
        )


class OwnNetwork(Training):
    """What trains a network that its settings name, by Adadelta as punjabi2017 does."""

    network: models.ModelName

    def model(
        self,
        dataset: data.Dataset,
        seed: int,
        network: models.ModelName | None = None,
        channels: int | None = None,
        **options: Any,
    ) -> nn.Sequential:
        """As of all experiments, of this one's network."""
        return super().model(dataset, seed, network or self.network, channels, **options)

    def train_config(self, epochs: int, batch_size: int, seed: int) -> TrainConfig:
        """As of all experiments, with the optimizer."""
        config = super().train_config(epochs, batch_size, seed)
        return config.model_copy(update={"optimizer": "adadelta"})


class Settings(Training):
    """Settings that every chapter has; each chapter adds its own.

    `shared` holds the chapter's own values, in the profiles' order, of the settings given here.
    """

    layer_choices: ClassVar[tuple[str, ...]] = ()  # besides the layers that have feature maps
    shared: ClassVar[dict[str, tuple[object, object, object]]] = {}

    dataset: str = setting("mnist", "mnist, fashion-mnist, cifar10 or image-folder:PATH")
    n_train: Count = setting(3000, "training images, the first ones of the dataset")
    n_test: Count = setting(
        1000, "test images, the first ones of the dataset", smoke=100, paper=10_000
    )
    learning_rate: Rate = setting(0.1, "step size of the optimizer", paper=0.01)
    input_scale: InputScale = setting(
        "unit", "released (255 for mnist, else unit), 255, unit or standardized", paper="released"
    )

    @classmethod
    def profile(cls, name: str) -> dict[str, Any]:
        """Every setting's value in one of the profiles."""
        further: dict[str, Any] = {n: f.json_schema_extra for n, f in cls.model_fields.items()}
        values = {n: further[n].get(name, f.default) for n, f in cls.model_fields.items()}
        return values | {n: v[PROFILES.index(name)] for n, v in cls.shared.items()}

    def check(self) -> Self:
        """Refuse what cannot run, before any training.

        Raises:
            ValueError: dataset or layer that does not exist, more images than there
                are; the message says what is possible.
            FileNotFoundError: a dataset that is not there.
        """
        data.check_name(self.dataset)
        dataset = self.load()
        model = self.model(dataset, seed=0)
        layer = getattr(self, "layer", None)
        rows = models.layer_table(model, dataset.image_shape)
        possible = [row.name for row in rows if len(row.shape) == 3]
        possible += self.layer_choices
        if layer not in (None, *possible):
            raise ValueError(
                f"layer {layer!r} has no feature maps; choose one of {', '.join(possible)}"
            )
        return self


class RunConfig(Training):
    """What identifies a run that is recorded; each experiment adds its own, and how it is made.

    It is complete: with the data it decides the result, up to rounding.  `threads` are those of
    the process that computes; they decide the order in which sums are rounded.
    """

    n_test: Count = 10_000
    learning_rate: Rate = 0.01
    input_scale: InputScale = "released"
    seed: Annotated[int, Field(ge=0)]
    precision: Literal["float32", "float64"] = "float32"
    device: str = "cpu"
    threads: Count = 1

    @property
    def arithmetic(self) -> tuple[torch.dtype, str]:
        """Type of all numbers, and the device that computes."""
        return getattr(torch, self.precision), self.device

    def load(self) -> data.Dataset:
        """The dataset; the last two that a process has read stay in its memory."""
        return _load(self.dataset, self.images_needed(), self.n_test, *self.arithmetic)

    def check_data(self) -> None:
        """Refuse, before any run starts, data that is not there; what is read is not kept.

        Raises:
            ValueError: files that are not the dataset's.
            FileNotFoundError: a dataset that is not there.
        """
        data.load(self.dataset, self.images_needed(), self.n_test)

    @property
    def label(self) -> str:
        """A name for people, of letters, digits, dots and hyphens."""
        raise NotImplementedError

    @property
    def cost(self) -> float:
        """About how many images the run computes gradients of, to tell the time left."""
        raise NotImplementedError

    @property
    def source(self) -> "RunConfig | None":
        """The run whose result this one still needs before it can be made, if any.

        It may be one of another experiment.
        """
        return None

    def completed(self, source: Any) -> Self:
        """This run with what it needs of its source's result."""
        return self

    def run(self) -> "Result":
        """Make the run."""
        raise NotImplementedError


@lru_cache(maxsize=2)
def _load(name: str, n_train: int, n_test: int, dtype: torch.dtype, device: str) -> data.Dataset:
    return data.load(name, n_train, n_test, dtype=dtype).to(device)


class Result(BaseModel):
    """Numbers of an experiment, not to be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def trained_copy(
    base: nn.Sequential,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    *,
    maps: bool = False,
    test: tuple[Tensor, Tensor] | None = None,
) -> tuple[nn.Sequential, History]:
    """A copy of a model trained further, and how that went; the model is left unchanged.

    Args:
        base: model whose first layer scales the input.
        images: (N, C, H, W) in [0, 1], or map images.
        labels: (N,).
        config: settings of the training.
        maps: whether `images` are map images, which bypass the scaling layer.
        test: original images in [0, 1] and labels, evaluated after every epoch.
    """
    model = copy.deepcopy(base)
    if not maps:
        return model, fit(model, images, labels, config, test=test)
    scaled = None if test is None else (base[0](test[0]), test[1])
    return model, fit(model[1:], images, labels, config, test=scaled)


def parallel(
    function: Callable[[Argument], Answer], arguments: Iterable[Argument], jobs: int
) -> list[Answer]:
    """Results of a function for each argument, in order, by so many processes of one thread each.

    Several small trainings are faster in this way than one after the other with all threads.
    Function, arguments and results travel between processes; one job stays in this process.

    Raises:
        ValueError: fewer than one job.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; give a whole number from 1")
    calls = [joblib.delayed(_with_one_thread)(function, argument) for argument in arguments]
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        return list(joblib.Parallel(n_jobs=jobs)(calls))


def _with_one_thread(function: Callable[[Argument], Answer], argument: Argument) -> Answer:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(argument)
    finally:
        torch.set_num_threads(threads)
