"""What is looked at in a network: its maps, how they came about, whether to believe them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.data import SHOWN_CLASSES, Dataset
from fmlib.experiments.common import (
    Count,
    InputScale,
    OwnNetwork,
    Rate,
    RunConfig,
    Settings,
    setting,
)
from fmlib.experiments.feature_evolution import Epochs, check_shown_epochs
from fmlib.features import feature_maps
from fmlib.models import ModelName, class_layer, layer_table
from fmlib.training import History, fit, predict
from fmlib.visualization import invariance, saliency, sanity
from fmlib.visualization.deconvnet import project
from fmlib.visualization.evolution import Snapshots
from fmlib.visualization.invariance import Invariance, Transformation
from fmlib.visualization.occlusion import OcclusionMaps, occlusion
from fmlib.visualization.top_activations import (
    Projections,
    Top,
    top_activations,
    top_projections,
)
from fmlib.visualization.units import Unit

Layers = Annotated[tuple[str, ...], Field(strict=False, min_length=2)]

SNAPSHOT_BYTES = 2**30
TOP = 9
"""Images that are shown of each map, as in Zeiler and Fergus (2014)."""
AMOUNTS: dict[Transformation, tuple[float, ...]] = {
    "translation": (-12, -8, -4, -2, -1, 0, 1, 2, 4, 8, 12),
    "scaling": (0.5, 0.7, 0.85, 1, 1.15, 1.4, 1.8),
    "rotation": (0, 15, 30, 45, 60, 90, 135, 180, 225, 270, 315, 360),
}
"""How far images are moved down (pixels), enlarged (factors) and turned (degrees)."""
SMALL_MOVES: dict[Transformation, tuple[float, ...]] = {
    "translation": (-2, -1, 1, 2),
    "scaling": (0.85, 1.15),
    "rotation": (15,),
}
"""Amounts that count as small: they leave the thing in the image where it was, for a person."""


class Looking(OwnNetwork):
    """What trains a network whose layers are looked at."""

    layers: Layers
    epochs: Count
    shown_epochs: Epochs
    batch_size: Count


class LookingSettings(Settings, Looking):
    """Settings that chapters 06 and 07 share."""

    shared: ClassVar = {
        "n_train": (200, 4000, 8000),
        "n_test": (100, 1000, 2000),
        "learning_rate": (1.0, 1.0, 1.0),
        "input_scale": ("standardized", "standardized", "standardized"),
    }

    dataset: str = setting(
        SHOWN_CLASSES, "mnist, fashion-mnist, cifar10, some of its classes or image-folder:PATH"
    )
    network: ModelName = setting("compact_cnn", "a network of fmlib.models")
    layers: Layers = setting(
        ("act1", "act2", "act3"), "layers with maps that are looked at, the first to the last"
    )
    epochs: Count = setting(6, "epochs of training", smoke=1, paper=23)
    batch_size: Count = setting(50, "images of a step")

    def check(self) -> Self:
        """Also refuse layers without maps, and epochs that do not fit."""
        super().check()
        dataset = self.load()
        rows = layer_table(self.model(dataset, seed=0), dataset.image_shape)
        possible = [row.name for row in rows if len(row.shape) == 3]
        for layer in self.layers:
            if layer not in possible:
                raise ValueError(
                    f"layers holds {layer!r}, which has no feature maps; choose of "
                    f"{', '.join(possible)}"
                )
        check_shown_epochs(self.shown_epochs, self.epochs)
        return self


class LookingRun(RunConfig, Looking):
    """What recorded networks of these chapters share; their images are bundled."""

    dataset: str = SHOWN_CLASSES
    n_train: Count = 4000
    n_test: Count = 2000
    learning_rate: Rate = 1.0
    input_scale: InputScale = "standardized"
    network: ModelName = "compact_cnn"
    layers: Layers = ("act1", "act2", "act3")
    epochs: Count = 23
    batch_size: Count = 50


class Network(NamedTuple):
    """A trained network, what it was at the epochs shown, and how its training went."""

    model: nn.Sequential
    snapshots: Snapshots
    history: History


def train(settings: Looking, seed: int) -> Network:
    """Train one network and keep it at the epochs shown, before training and at the end."""
    dataset = settings.load()
    model = settings.model(dataset, seed)
    snapshots = Snapshots(SNAPSHOT_BYTES, sorted({0, *settings.shown_epochs, settings.epochs}))
    snapshots(0, model)
    history = fit(
        model,
        dataset.train_images,
        dataset.train_labels,
        settings.train_config(settings.epochs, settings.batch_size, seed),
        test=(dataset.test_images, dataset.test_labels),
        after_epoch=snapshots,
    )
    return Network(model, snapshots, history)


class Trio(NamedTuple):
    """The network that is looked at, a twin of another seed, and one of shuffled labels.

    The last one's accuracy is that on its own images and labels.
    """

    network: Network
    twin: Network
    shuffled: Network


# --- deconvnet ---------------------------------------------------------------------------------


def top_of(model: nn.Sequential, images: Tensor, layer: str) -> Top:
    """The nine images that excite each map of a layer most."""
    maps = feature_maps(model, images[:1], [layer])[layer].shape[1]
    return top_activations(model, images.split(500), layer, range(maps), TOP)


def purity(top: Top, labels: Tensor) -> Tensor:
    """Share in percent of each map's strongest images that its most frequent class has, (maps,).

    NaN for a map that no image excites: its strongest images would be the first ones.
    """
    classes = labels[top.images.cpu()]  # (maps, k)
    counts = F.one_hot(classes, int(labels.max()) + 1).sum(dim=1)  # (maps, classes)
    shares = 100 * counts.amax(dim=1).double() / classes.shape[1]
    return shares.where(top.values[:, 0].cpu() > 0, torch.nan)


class Shown(NamedTuple):
    """Some maps of a layer with what excites them most, and the purity of all maps.

    `classes` and `values` (maps, k) are those of the strongest images; `purity` has NaN for maps
    that nothing excites, `untrained` is its mean before training.
    """

    layer: str
    maps: tuple[int, ...]
    projections: list[Projections]
    classes: Tensor
    values: Tensor
    purity: Tensor
    untrained: float


def shown_maps(
    network: Network, images: Tensor, labels: Tensor, layers: Sequence[str], maps_shown: int
) -> list[Shown]:
    """Of every layer the maps of the highest, the middle and the lowest purity, evenly spaced.

    Of equally pure ones the stronger comes first.
    """
    before = next(network.snapshots.models())[1]
    found = []
    for layer in layers:
        top = top_of(network.model, images, layer)
        pure = purity(top, labels)
        alive = pure.isfinite().nonzero()[:, 0].tolist()
        order = sorted(alive, key=lambda m: (-pure[m].item(), -top.values[m, 0].item()))
        count = min(maps_shown, len(order))
        places = torch.linspace(0, len(order) - 1, count).round().long().tolist()
        chosen = tuple(order[place] for place in places)
        some = top_activations(network.model, images.split(500), layer, chosen, TOP)
        untrained = purity(top_of(as_sequential(before), images, layer), labels)
        found.append(
            Shown(
                layer,
                chosen,
                top_projections(network.model, images.split(500), some),
                labels[some.images],
                some.values,
                pure,
                untrained.nanmean().item(),
            )
        )
    return found


def as_sequential(model: nn.Module) -> nn.Sequential:
    """A model that is known to be sequential."""
    assert isinstance(model, nn.Sequential)
    return model


# --- evolution ---------------------------------------------------------------------------------


class MapByEpoch(NamedTuple):
    """What a map responds to most, epoch by epoch: image, projection, and whose it is."""

    layer: str
    number: int
    epochs: tuple[int, ...]
    projections: Tensor
    images: Tensor


def map_by_epoch(network: Network, images: Tensor, layer: str, number: int) -> MapByEpoch:
    """The strongest activation of a map over all images, projected, at every epoch shown."""
    epochs, projections, strongest = [], [], []
    for epoch, model in network.snapshots.models():
        top = top_activations(model, images.split(500), layer, [number], 1)
        image = images[top.images[0]]  # (1, C, H, W)
        epochs.append(epoch)
        projections.append(project(model, image, top.unit(0, 0))[0])
        strongest.append(image[0])
    return MapByEpoch(
        layer, number, tuple(epochs), torch.stack(projections), torch.stack(strongest)
    )


def convergence(network: Network, images: Tensor, layers: Sequence[str]) -> dict[str, list[float]]:
    """How alike each layer's maps are, at every epoch shown, to those after the last epoch.

    The correlation over images and positions, a mean over the maps that are not constant.
    """
    by_epoch = [
        feature_maps(model, images, list(layers)) for _, model in network.snapshots.models()
    ]
    return {
        layer: [_map_correlation(maps[layer], by_epoch[-1][layer]) for maps in by_epoch]
        for layer in layers
    }


def _map_correlation(first: Tensor, second: Tensor) -> float:
    """Mean Pearson correlation of two sets of maps (N, maps, P, Q), map by map."""
    a, b = (maps.transpose(0, 1).flatten(1) for maps in (first, second))  # (maps, N P Q)
    a, b = (each - each.mean(dim=1, keepdim=True) for each in (a, b))
    sizes = a.norm(dim=1) * b.norm(dim=1)
    known = sizes > 0
    return float(((a * b).sum(dim=1)[known] / sizes[known]).mean())


# --- invariance --------------------------------------------------------------------------------


def invariances(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    layer: str,
    changes: Mapping[Transformation, tuple[float, ...]] = AMOUNTS,
) -> dict[Transformation, Invariance]:
    """Fig. 5: responses of a first layer and of the output to images moved, scaled and turned."""
    layers = [layer, class_layer(model)]
    return {
        name: invariance.invariance(model, images, labels, name, amounts, layers)
        for name, amounts in changes.items()
    }


def moved_apart(found: Invariance, amounts: Sequence[float]) -> dict[str, float]:
    """Mean distance by layer after some amounts, divided by that of different images."""
    rows = [found.amounts.index(amount) for amount in amounts]
    return {layer: found.normalized(layer)[rows].mean().item() for layer in found.distances}


def moved_by_epoch(
    network: Network, images: Tensor, labels: Tensor, layer: str
) -> dict[Transformation, dict[str, tuple[float, ...]]]:
    """Mean distance by layer after small changes, at every epoch shown."""
    by_epoch = [
        {
            name: moved_apart(one, SMALL_MOVES[name])
            for name, one in invariances(model, images, labels, layer, SMALL_MOVES).items()
        }
        for _, model in network.snapshots.models()
    ]
    return {
        name: {key: tuple(found[name][key] for found in by_epoch) for key in by_epoch[0][name]}
        for name in SMALL_MOVES
    }


# --- occlusion ---------------------------------------------------------------------------------


def right_images(model: nn.Module, dataset: Dataset, count: int) -> tuple[Tensor, Tensor]:
    """The first test images that the network names right, and their classes."""
    right = predict(model, dataset.test_images) == dataset.test_labels
    chosen = right.nonzero()[:count, 0]
    return dataset.test_images[chosen], dataset.test_labels[chosen]


def occlusions(
    model: nn.Module, images: Tensor, labels: Tensor, layer: str, square: int, stride: int
) -> list[OcclusionMaps]:
    """Occlusion of each image, for its own class and the strongest map of a layer."""
    return [
        occlusion(model, image, layer, square=square, stride=stride, target=label)
        for image, label in zip(images, labels.tolist(), strict=True)
    ]


class Place(NamedTuple):
    """Mean fall of a class's logit, in its units, when the centre or the border is hidden."""

    centre: float
    border: float


def fall(found: OcclusionMaps) -> Place:
    """Where hiding costs most; the centre is the middle third of the places along both axes."""
    lost = found.unoccluded.logit - found.occluded.logit  # (rows, columns)
    rows, columns = (_middle(size) for size in lost.shape)
    inside = rows[:, None] & columns  # (rows, columns)
    return Place(lost[inside].mean().item(), lost[~inside].mean().item())


def mean_fall(found: Sequence[OcclusionMaps]) -> Place:
    """Mean over images of what hiding the centre and the border costs."""
    falls = torch.tensor([fall(one) for one in found], dtype=torch.float64)  # (images, 2)
    return Place(*falls.mean(dim=0).tolist())


def hidden_by_epoch(
    network: Network, images: Tensor, labels: Tensor, layer: str, square: int, stride: int
) -> list[Place]:
    """What hiding the centre and the border costs, at every epoch shown."""
    return [
        mean_fall(occlusions(model, images, labels, layer, square, stride))
        for _, model in network.snapshots.models()
    ]


def _middle(size: int) -> Tensor:
    places = torch.arange(size)
    return (places >= size // 3) & (places < size - size // 3)


# --- sanity checks -----------------------------------------------------------------------------


class Sanity(NamedTuple):
    """How alike a method's pictures stay when weights are drawn anew: by layer, beside the twin's.

    Mean rank correlations of absolute values; `layers` goes from the output down.  `edges` is
    the correlation of the pictures with an edge detector's, `shuffled` that with pictures from
    the network of shuffled labels.
    """

    method: str
    layers: dict[str, float]
    twin: float
    edges: float
    shuffled: float


def sanity_checks(
    trained: Trio, images: Tensor, labels: Tensor, seeds: Sequence[int]
) -> list[Sanity]:
    """Gradient, guided backpropagation, deconvnet and an edge detector, as Adebayo et al. check."""
    model = trained.network.model
    head = class_layer(model)

    def deconvnet(model: nn.Module, images: Tensor) -> Tensor:
        return project(model, images, [Unit(head, label) for label in labels.tolist()])

    methods: Mapping[str, sanity.Method] = {
        "gradient": lambda model, images: saliency.gradient(model, images, labels),
        "guided backpropagation": lambda model, images: saliency.guided_backpropagation(
            model, images, labels
        ),
        "deconvnet": deconvnet,
        "edge detector": lambda model, images: sanity.edges(images),
    }
    outlines = sanity.edges(images)
    others = {"twin": trained.twin.model, "shuffled": trained.shuffled.model}
    found = []
    for name, method in methods.items():
        checked = sanity.checks(method, model, images, seeds=seeds, others=others)
        alike = {key: one.absolute_rank.mean().item() for key, one in checked.others.items()}
        pictures = method(model, images)
        if pictures.dim() == 4:
            pictures = sanity.magnitude(pictures)
        found.append(
            Sanity(
                name,
                {
                    layer: measured.absolute_rank.mean().item()
                    for layer, measured in checked.layers.items()
                },
                alike["twin"],
                sanity.rank_correlation(pictures, outlines).mean().item(),
                alike["shuffled"],
            )
        )
    return found
