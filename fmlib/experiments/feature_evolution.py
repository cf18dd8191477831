"""Chapter 05: what the classes of a network look like while it is trained (punjabi2017)."""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, cast, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from fmlib import data, models
from fmlib.data import OTHER_CLASSES, SHOWN_CLASSES, Dataset
from fmlib.experiments.common import (
    Count,
    InputScale,
    OwnNetwork,
    Rate,
    Result,
    RunConfig,
    Settings,
    parallel,
    setting,
)
from fmlib.models import LargeName, ModelName
from fmlib.training import History, evaluate, fit
from fmlib.visualization import pictures as measures
from fmlib.visualization.activation_maximization import (
    PUBLISHED,
    SMALL,
    Ascent,
    AscentConfig,
    maximize,
)
from fmlib.visualization.evolution import Snapshots
from fmlib.visualization.judging import Judgement, judge
from fmlib.visualization.units import Unit

Course = Literal["scratch", "pretrained", "frozen", "harder", "simplified"]
COURSES: tuple[Course, ...] = get_args(Course)
COURSE_NAMES: dict[Course, str] = {
    "scratch": "from scratch",
    "pretrained": "pretrained on other classes",
    "frozen": "pretrained, convolutions frozen",
    "harder": "trained on more classes",
    "simplified": "pretrained on more classes",
}
Regularizer = Literal["small", "published"]
REGULARIZERS: dict[Regularizer, AscentConfig] = {"small": SMALL, "published": PUBLISHED}
"""How pictures are kept from becoming noise: as at this size, and as published."""
REGULARIZER_NAMES: dict[Regularizer, str] = {
    "small": "for small pictures",
    "published": "as published",
}
LARGE = PUBLISHED.model_copy(update={"steps": 120, "step": 16.0})
"""As published, with steps long enough for pictures of a large network."""
MEASURES = {
    "variation": measures.total_variation,
    "high_frequency": measures.high_frequency_share,
    "compressed": measures.compressed_bytes,
    "contrast": measures.contrast,
}
"""What is taken for the complexity of a picture."""
Epochs = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)]
SNAPSHOT_BYTES = 2**30
JUDGE_SEED = 1000
"""Added to the seed of a course for the network that judges its pictures."""


class Evolving(OwnNetwork):
    """What a course of training needs, in the chapter and in recorded runs."""

    pretraining: str
    harder: str
    n_pretraining: Count
    pretraining_epochs: Count
    epochs: Count
    shown_epochs: Epochs
    batch_size: Count

    def load_other(self, name: str, n_train: int) -> Dataset:
        """Another dataset, in the same type and on the same device; its test images are few."""
        dtype, device = self.arithmetic
        return data.load(name, n_train, 1, dtype=dtype).to(device)

    def n_harder(self, dataset: Dataset) -> int:
        """Training images of the harder task: as many of each class."""
        return self.n_train * len(self.harder_classes()) // dataset.n_classes

    def harder_classes(self) -> tuple[str, ...]:
        """Classes of the harder task."""
        whole, *chosen = self.harder.split(":", maxsplit=1)
        return tuple(chosen[0].split(",")) if chosen else data.CLASS_NAMES[whole]


class EvolutionSettings(Settings, Evolving):
    """Settings of chapter 05."""

    shared: ClassVar = {
        "n_train": (200, 4000, 20_000),
        "n_test": (100, 1000, 4000),
        "learning_rate": (1.0, 1.0, 1.0),
        "input_scale": ("standardized", "standardized", "standardized"),
    }

    dataset: str = setting(
        SHOWN_CLASSES,
        "classes that are shown, such as cifar10:frog,ship, or image-folder:PATH",
    )
    network: ModelName = setting(
        "compact_cnn", "a network of fmlib.models; squeezenet and vgg16 for large images"
    )
    courses: Annotated[tuple[Course, ...], Field(strict=False, min_length=1)] = setting(
        ("scratch", "pretrained", "frozen", "harder"),
        f"trainings that are shown: {', '.join(COURSES)}",
    )
    pretraining: str = setting(
        OTHER_CLASSES, "dataset that networks are pretrained on, or imagenet (the large networks)"
    )
    harder: str = setting("cifar10", "dataset of the harder task, the classes shown among its own")
    n_pretraining: Count = setting(4000, "images of the pretraining", smoke=120, paper=30_000)
    pretraining_epochs: Count = setting(2, "epochs on other or on more classes", smoke=1, paper=10)
    epochs: Count = setting(6, "epochs on the classes shown", smoke=1, paper=23)
    shown_epochs: Epochs = setting(
        (0, 1, 2, 3, 4, 6),
        "epochs after which pictures are made; 0 is before training",
        smoke=(0, 1),
        paper=(0, 1, 2, 4, 6, 8, 12, 18, 23),
    )
    batch_size: Count = setting(50, "images of a step")
    starts: Count = setting(3, "starts of each class's picture, for the judge", smoke=1)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(0, "seed of weights, batches and noise")

    def check(self) -> Self:
        """Also refuse courses that the datasets do not allow."""
        super().check()
        check_shown_epochs(self.shown_epochs, self.epochs)
        dataset = self.load()
        if {"pretrained", "frozen"} & set(self.courses):
            _check_pretraining(self, dataset)
        if {"harder", "simplified"} & set(self.courses):
            _check_harder(self, dataset)
        return self


def check_shown_epochs(shown: Sequence[int], epochs: int) -> None:
    """Refuse epochs that are out of order, or after the last one."""
    if sorted(set(shown)) != list(shown) or shown[-1] > epochs:
        raise ValueError(
            f"shown_epochs is {list(shown)}; give ascending numbers from 0 to epochs = {epochs}"
        )


def _check_pretraining(settings: Evolving, dataset: Dataset) -> None:
    if settings.pretraining == "imagenet":
        if settings.network not in get_args(LargeName):
            raise ValueError(
                f"pretraining is 'imagenet', but network is {settings.network!r}; choose one of "
                f"{', '.join(get_args(LargeName))}, or pretrain on a dataset"
            )
        return
    data.check_name(settings.pretraining)
    other = settings.load_other(settings.pretraining, settings.n_pretraining)
    if other.image_shape != dataset.image_shape:
        theirs, own = ("x".join(map(str, d.image_shape)) for d in (other, dataset))
        raise ValueError(
            f"images of pretraining are {theirs}, those of dataset {own}; choose datasets of one "
            "size, or leave the courses pretrained and frozen out"
        )


def _check_harder(settings: Evolving, dataset: Dataset) -> None:
    data.check_name(settings.harder)
    if settings.harder.startswith(data.FOLDER_PREFIX):
        raise ValueError("harder is an image folder; choose a dataset, or leave its courses out")
    if not set(dataset.class_names) < set(settings.harder_classes()):
        raise ValueError(
            f"harder is {settings.harder!r}, which lacks classes of {settings.dataset}, or has no "
            "more than these; choose a larger set, or leave the courses harder and simplified out"
        )
    settings.load_other(settings.harder, settings.n_harder(dataset))


# --- courses of training -------------------------------------------------------------------


class Trained(NamedTuple):
    """A course: how it went, what its weights were at the epochs shown, and its classes.

    `units` are the classes shown, in the order of the dataset, as units of the network;
    `train_accuracy` is that after the last epoch.
    """

    course: Course
    history: History
    snapshots: Snapshots
    units: list[Unit]
    train_accuracy: float


def train(settings: Evolving, course: Course, seed: int) -> Trained:
    """One course of training, pretraining included."""
    dataset = settings.load()
    task = dataset if course != "harder" else _harder_task(settings, dataset)
    model = settings.model(task, seed)
    if course in ("pretrained", "frozen", "simplified"):
        models.with_weights(model, _pretrained(settings, course, dataset, seed))
    if course == "frozen":
        _freeze(model)
    epochs = settings.pretraining_epochs if course == "harder" else settings.epochs
    shown = _shown(settings, epochs)
    snapshots = Snapshots(SNAPSHOT_BYTES, shown)
    snapshots(0, model)
    history = fit(
        model,
        task.train_images,
        task.train_labels,
        settings.train_config(epochs, settings.batch_size, seed),
        test=(task.test_images, task.test_labels),
        after_epoch=snapshots,
    )
    layer = models.class_layer(model)
    units = [Unit(layer, task.class_names.index(name)) for name in dataset.class_names]
    accuracy = evaluate(model, task.train_images, task.train_labels)
    return Trained(course, history, snapshots, units, accuracy)


def _shown(settings: Evolving, epochs: int) -> list[int]:
    """Epochs of a training whose pictures are made; its last is always among them."""
    return [*(epoch for epoch in settings.shown_epochs if epoch < epochs), epochs]


def _harder_task(settings: Evolving, dataset: Dataset) -> Dataset:
    """The harder task's training images, and its test images as many of each class."""
    n_classes = len(settings.harder_classes())
    dtype, device = settings.arithmetic
    n_test = settings.n_test * n_classes // dataset.n_classes
    few = min(n_test, 100 * n_classes)  # of the other classes the package has 100 each
    return data.load(settings.harder, settings.n_harder(dataset), few, dtype=dtype).to(device)


def _pretrained(
    settings: Evolving, course: Course, dataset: Dataset, seed: int
) -> dict[str, Tensor]:
    """Weights that a course starts from."""
    if course != "simplified" and settings.pretraining == "imagenet":
        dtype, _ = settings.arithmetic
        return models.imagenet(cast(LargeName, settings.network), dtype).state_dict()
    if course == "simplified":
        other = _harder_task(settings, dataset)
    else:
        other = settings.load_other(settings.pretraining, settings.n_pretraining)
    model = settings.model(other, seed)
    config = settings.train_config(settings.pretraining_epochs, settings.batch_size, seed)
    fit(model, other.train_images, other.train_labels, config)
    return model.state_dict()


def _freeze(model: nn.Sequential) -> None:
    """Let only the last layer be trained."""
    model.requires_grad_(False)
    model.get_submodule(models.class_layer(model)).requires_grad_(True)


# --- pictures ------------------------------------------------------------------------------


class Gallery(NamedTuple):
    """Pictures of the classes at some epochs.

    `pictures` (epochs, starts, classes, C, H, W), `activations` and `probabilities` (epochs,
    starts, classes) that they reach.
    """

    epochs: tuple[int, ...]
    pictures: Tensor
    activations: Tensor
    probabilities: Tensor


def gallery(
    trained: Trained,
    image_shape: models.ImageShape,
    config: AscentConfig,
    starts: Sequence[int],
    epochs: Sequence[int] | None = None,
) -> Gallery:
    """Activation maximization of every class, from the same noise at every epoch.

    `starts` are seeds of the noise; `epochs` are some of those shown, None for all of them.
    """
    chosen = trained.snapshots.epochs if epochs is None else tuple(epochs)
    found: list[list[Ascent]] = [
        [maximize(model, trained.units, image_shape, config, start) for start in starts]
        for epoch, model in trained.snapshots.models()
        if epoch in chosen
    ]
    parts = [
        torch.stack([torch.stack([getattr(one, name) for one in row]) for row in found])
        for name in Ascent._fields
    ]
    return Gallery(chosen, *parts)


class Shown(NamedTuple):
    """A course with its pictures by regularizer.

    `galleries` have one start and every epoch shown, `ends` all starts at the first and the last.
    """

    trained: Trained
    galleries: dict[Regularizer, Gallery]
    ends: dict[Regularizer, Gallery]

    @property
    def course(self) -> Course:
        """Which course it is."""
        return self.trained.course


class _Task(NamedTuple):
    settings: EvolutionSettings
    course: Course


def _show(task: _Task) -> Shown:
    settings, course = task
    trained = train(settings, course, settings.seed)
    shape, first = settings.load().image_shape, settings.seed
    starts, epochs = range(first, first + settings.starts), trained.snapshots.epochs
    configs = _regularizers(settings.network, course)
    return Shown(
        trained,
        {name: gallery(trained, shape, config, [first]) for name, config in configs.items()},
        {
            name: gallery(trained, shape, config, starts, (epochs[0], epochs[-1]))
            for name, config in configs.items()
        },
    )


def _regularizers(network: ModelName, course: Course) -> dict[Regularizer, AscentConfig]:
    """How pictures of a course are made: of the first course in both ways, to be compared."""
    if network in get_args(LargeName):
        return {"published": LARGE}
    return REGULARIZERS if course == "scratch" else {"small": SMALL}


def courses(settings: EvolutionSettings, jobs: int = 2) -> list[Shown]:
    """All courses of the settings, several at once."""
    return parallel(_show, [_Task(settings, course) for course in settings.courses], jobs)


# --- what pictures are measured by -----------------------------------------------------------


def trained_judge(settings: Evolving, seed: int, epochs: int) -> nn.Sequential:
    """A network trained apart: from other weights and, where there are any, on other images.

    These are the images after the first `n_train`; a dataset that has no more of them than that
    gives the same ones.
    """
    dataset = settings.load()
    dtype, device = settings.arithmetic
    try:
        more = data.load(settings.dataset, 2 * settings.n_train, 1, dtype=dtype).to(device)
    except (FileNotFoundError, ValueError):  # there are no more
        more = dataset
    own = slice(-settings.n_train, None)
    seed += JUDGE_SEED
    model = settings.model(dataset, seed)
    config = settings.train_config(epochs, settings.batch_size, seed)
    fit(model, more.train_images[own], more.train_labels[own], config)
    return model


class Looks(Result):
    """Pictures of the classes after an epoch, in numbers.

    Attributes:
        epoch: 0 is before training.
        variation, high_frequency, compressed, contrast: `fmlib.visualization.pictures`, means
            over classes and starts.
        confusion: mean correlation of different classes' pictures, mean over the starts.
        activation, probability: what the pictures reach, means.
        agreement: percent of the pictures that the judge puts into their class.
        conviction: mean probability that the judge gives the class, in percent.
    """

    epoch: int
    variation: float
    high_frequency: float | None
    compressed: float
    contrast: float
    confusion: float | None
    activation: float
    probability: float
    agreement: float
    conviction: float


def looks(found: Gallery, judging: nn.Module) -> list[Looks]:
    """The numbers of every epoch of a gallery."""
    return [
        _looks(epoch, found.pictures[at], found.activations[at], found.probabilities[at], judging)
        for at, epoch in enumerate(found.epochs)
    ]


def _looks(
    epoch: int, pictures: Tensor, activations: Tensor, probabilities: Tensor, judging: nn.Module
) -> Looks:
    """Numbers of pictures (starts, classes, C, H, W) of one epoch."""
    verdict = judged(pictures, judging)
    alike = torch.tensor([measures.confusion(start) for start in pictures])
    measured = {
        name: known_or_none(measure(pictures.flatten(0, 1)).double().mean().item())
        for name, measure in MEASURES.items()
    }
    return Looks.model_validate(
        {
            "epoch": epoch,
            **measured,
            "confusion": known_or_none(alike.mean().item()),
            "activation": activations.mean().item(),
            "probability": probabilities.mean().item(),
            "agreement": verdict.agreement,
            "conviction": 100 * verdict.probability.mean().item(),
        }
    )


def known_or_none(value: float) -> float | None:
    """None instead of NaN."""
    return value if math.isfinite(value) else None


def judged(pictures: Tensor, judging: nn.Module) -> Judgement:
    """What the judge says of pictures (starts, classes, C, H, W)."""
    starts, classes = pictures.shape[:2]
    return judge(judging, pictures.flatten(0, 1), torch.arange(classes).repeat(starts))


# --- recorded runs -----------------------------------------------------------------------------


class EvolutionRun(RunConfig, Evolving):
    """One recorded course, with the pictures of its classes in numbers.

    All of its images travel in the package.
    """

    dataset: str = SHOWN_CLASSES
    n_train: Count = 4000
    n_test: Count = 2000
    learning_rate: Rate = 1.0
    input_scale: InputScale = "standardized"
    network: ModelName = "compact_cnn"
    course: Course
    pretraining: str = OTHER_CLASSES
    harder: str = "cifar10"
    n_pretraining: Count = 6000
    pretraining_epochs: Count = 9
    epochs: Count = 23
    shown_epochs: Epochs = (0, 1, 2, 4, 6, 7, 8, 12, 13, 14, 18, 20, 23)
    batch_size: Count = 50
    judge_epochs: Count = 6
    starts: Count = 2

    @property
    def label(self) -> str:
        """Course and number of images."""
        return f"{self.course}-{self.n_train}"

    @property
    def cost(self) -> float:
        """Images trained on, and pictures climbed to."""
        pretraining = 0 if self.course == "scratch" else self.pretraining_epochs * 10_000
        pictures = 2 * self.starts * len(self.shown_epochs) * 4 * 160
        return (self.epochs + self.judge_epochs) * self.n_train + pretraining + pictures

    def run(self) -> "RecordedCourse":
        """Train, make the pictures of every epoch shown, and have them judged."""
        trained = train(self, self.course, self.seed)
        judging = trained_judge(self, self.seed, self.judge_epochs)
        shape = self.load().image_shape
        starts = range(self.seed, self.seed + self.starts)
        history = trained.history
        return RecordedCourse(
            accuracies=tuple(history.test_accuracies),
            losses=tuple(epoch.loss for epoch in history.epochs),
            train_accuracy=trained.train_accuracy,
            looks={
                name: tuple(looks(gallery(trained, shape, config, starts), judging))
                for name, config in REGULARIZERS.items()
            },
        )


class RecordedCourse(Result):
    """Accuracies in percent and losses by epoch, and the pictures in numbers by regularizer.

    The accuracy is that on the course's own test images, which are others for the harder task.
    """

    accuracies: tuple[float, ...]
    losses: tuple[float | None, ...]
    train_accuracy: float
    looks: dict[Regularizer, tuple[Looks, ...]]
