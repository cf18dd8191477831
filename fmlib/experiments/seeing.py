"""Chapter 06: what feature maps see, and how that comes about (masum2022)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import data, models
from fmlib.data import SHOWN_CLASSES, Dataset
from fmlib.experiments.common import (
    Count,
    OwnNetwork,
    Result,
    RunConfig,
    Settings,
    parallel,
    setting,
)
from fmlib.experiments.feature_evolution import Epochs
from fmlib.features import feature_maps
from fmlib.models import COMPACT_WIDTHS, ModelName, class_layer, compact_cnn, scale_layer
from fmlib.training import History, evaluate, fit, predict
from fmlib.visualization import filters, invariance, saliency, sanity
from fmlib.visualization.correspondence import (
    Box,
    Correspondence,
    box_masks,
    changes,
    distance,
    moved_at_random,
)
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

TOP = 9
"""Images that are shown of each map, as in Zeiler and Fergus (2014)."""
SNAPSHOT_BYTES = 2**30
TWIN_SEED, ARCHITECTURE_SEED, SHUFFLED_SEED = 1000, 2000, 3000
"""Added to a seed for networks trained apart."""
SHUFFLED_IMAGES, SHUFFLED_PASSES = 500, 7
"""Images with shuffled labels, and how many times as many epochs they are trained on."""
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


class Part(NamedTuple):
    """A part of a garment: its name, the garment's class, and where it lies in 28x28 pixels."""

    name: str
    garment: str
    box: Box


PARTS = (
    Part("left sleeve", "T-shirt/top", Box(4, 1, 9, 6)),
    Part("collar", "Pullover", Box(0, 9, 6, 10)),
    Part("left leg", "Trouser", Box(14, 6, 12, 7)),
    Part("shaft", "Ankle boot", Box(2, 14, 9, 10)),
    Part("toe", "Sneaker", Box(12, 0, 9, 8)),
)
"""Parts that lie at one place in all images of a garment, since Fashion-MNIST is aligned."""


class Seeing(OwnNetwork):
    """What a look at a trained network needs, in the chapter and in recorded runs."""

    layers: Annotated[tuple[str, ...], Field(strict=False, min_length=2)]
    epochs: Count
    shown_epochs: Epochs
    batch_size: Count
    n_looked: Count
    n_garments: Count
    garment_epochs: Count
    draws: Count


class SeeingSettings(Settings, Seeing):
    """Settings of chapter 06."""

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
    layers: Annotated[tuple[str, ...], Field(strict=False, min_length=2)] = setting(
        ("act1", "act2", "act3"), "layers whose maps are shown, the first to the last"
    )
    epochs: Count = setting(6, "epochs of training", smoke=1, paper=23)
    shown_epochs: Epochs = setting(
        (0, 1, 2, 4, 6),
        "epochs after which maps are looked at; 0 is before training",
        smoke=(0, 1),
        paper=(0, 1, 2, 4, 8, 14, 23),
    )
    batch_size: Count = setting(50, "images of a step")
    maps_shown: Count = setting(3, "maps shown of each layer", smoke=1)
    n_looked: Count = setting(
        40, "test images that are transformed, occluded and explained", smoke=6
    )
    square: Count = setting(8, "side of the grey square in pixels")
    stride: Count = setting(2, "pixels from one place of the square to the next", smoke=8)
    n_garments: Count = setting(3000, "images of the network of garments", smoke=300)
    garment_epochs: Count = setting(3, "its epochs", smoke=1)
    draws: Count = setting(20, "times that random parts are hidden", smoke=2)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = setting(0, "seed of weights and batches")

    def check(self) -> Self:
        """Also refuse layers without maps, and squares and epochs that do not fit."""
        super().check()
        dataset = self.load()
        rows = models.layer_table(self.model(dataset, seed=0), dataset.image_shape)
        possible = [row.name for row in rows if len(row.shape) == 3]
        for layer in self.layers:
            if layer not in possible:
                raise ValueError(
                    f"layers holds {layer!r}, which has no feature maps; choose of "
                    f"{', '.join(possible)}"
                )
        shown, side = self.shown_epochs, min(dataset.image_shape[1:])
        if sorted(set(shown)) != list(shown) or shown[-1] > self.epochs:
            raise ValueError(
                f"shown_epochs is {list(shown)}; give ascending numbers from 0 to epochs = "
                f"{self.epochs}"
            )
        if not self.stride <= self.square <= side:
            raise ValueError(
                f"square is {self.square} and stride {self.stride}; give a square of at most "
                f"{side} pixels, and a stride of at most the square"
            )
        places = -(-(side - self.square) // self.stride) + 1
        if places < 3:
            raise ValueError(
                f"square is {self.square} and stride {self.stride}, so that there are fewer than 3 "
                f"places in a line of {side} pixels; give less of one of them"
            )
        return self


# --- networks ------------------------------------------------------------------------------


class Network(NamedTuple):
    """A trained network, what it was at the epochs shown, and how its training went."""

    model: nn.Sequential
    snapshots: Snapshots
    history: History


def train(settings: Seeing, seed: int) -> Network:
    """Train one network and keep it at the epochs shown."""
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


def train_on_shuffled(settings: Seeing, seed: int) -> Network:
    """Train a network until it knows a few images whose labels were dealt out at random.

    What it learns has nothing to do with the classes (Zhang et al. 2017).
    """
    dataset = settings.load()
    images = dataset.train_images[:SHUFFLED_IMAGES]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    labels = dataset.train_labels[: len(images)][order]
    model = settings.model(dataset, seed + SHUFFLED_SEED)
    snapshots = Snapshots(SNAPSHOT_BYTES, (0,))
    snapshots(0, model)
    epochs = SHUFFLED_PASSES * settings.epochs
    config = settings.train_config(epochs, settings.batch_size, seed)
    history = fit(model, images, labels, config)
    accuracy = evaluate(model, images, labels)
    last = history.epochs[-1].model_copy(update={"test_accuracy": accuracy})
    return Network(model, snapshots, History(epochs=(*history.epochs[:-1], last)))


class Trio(NamedTuple):
    """The network that is looked at, a twin of another seed, and one of shuffled labels.

    The last one's accuracy is that on its own images and labels.
    """

    network: Network
    twin: Network
    shuffled: Network


def _train_one(task: tuple[Seeing, int, bool]) -> Network:
    settings, seed, shuffled = task
    return (train_on_shuffled if shuffled else train)(settings, seed)


def networks(settings: SeeingSettings) -> Trio:
    """Train the networks of the chapter, several at once."""
    seed = settings.seed
    tasks = [(settings, seed, False), (settings, seed + TWIN_SEED, False), (settings, seed, True)]
    return Trio(*parallel(_train_one, tasks, jobs=2))


# --- deconvnet -----------------------------------------------------------------------------


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
    settings: SeeingSettings, network: Network, images: Tensor, labels: Tensor
) -> list[Shown]:
    """Of every layer the maps of the highest, the middle and the lowest purity, evenly spaced.

    Of equally pure ones the stronger comes first.
    """
    before = next(network.snapshots.models())[1]
    found = []
    for layer in settings.layers:
        top = top_of(network.model, images, layer)
        pure = purity(top, labels)
        alive = pure.isfinite().nonzero()[:, 0].tolist()
        order = sorted(alive, key=lambda m: (-pure[m].item(), -top.values[m, 0].item()))
        count = min(settings.maps_shown, len(order))
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


# --- evolution -----------------------------------------------------------------------------


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


# --- invariance ------------------------------------------------------------------------------


def invariances(
    settings: Seeing, model: nn.Sequential, images: Tensor, labels: Tensor
) -> dict[Transformation, Invariance]:
    """Fig. 5: responses of the first and the last layer, and of the output, to three changes."""
    layers = [settings.layers[0], class_layer(model)]
    return {
        name: invariance.invariance(model, images, labels, name, amounts, layers)
        for name, amounts in AMOUNTS.items()
    }


def moved_apart(found: Invariance, amounts: Sequence[float]) -> dict[str, float]:
    """Mean distance by layer after some amounts, divided by that of different images."""
    rows = [found.amounts.index(amount) for amount in amounts]
    return {layer: found.normalized(layer)[rows].mean().item() for layer in found.distances}


# --- occlusion -------------------------------------------------------------------------------


def right_images(model: nn.Sequential, dataset: Dataset, count: int) -> tuple[Tensor, Tensor]:
    """The first test images that the network names right, and their classes."""
    right = predict(model, dataset.test_images) == dataset.test_labels
    chosen = right.nonzero()[:count, 0]
    return dataset.test_images[chosen], dataset.test_labels[chosen]


def occlusions(
    model: nn.Sequential, images: Tensor, labels: Tensor, layer: str, square: int, stride: int
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


def _middle(size: int) -> Tensor:
    places = torch.arange(size)
    return (places >= size // 3) & (places < size - size // 3)


# --- correspondence --------------------------------------------------------------------------


class Corresponding(NamedTuple):
    """How alike the change is when one part is hidden, for each part: by layer.

    `images` (n, C, H, W) are some of those that were compared.
    """

    part: Part
    images: Tensor
    layers: dict[str, Correspondence]


def corresponding(settings: Seeing, seed: int, n_images: int = 5) -> list[Corresponding]:
    """Garments with a part hidden, against random parts, in the last maps and in the output.

    Five images of each garment, as in the paper.
    """
    dtype, device = settings.arithmetic
    garments = data.load("fashion-mnist", settings.n_garments, 1000, dtype=dtype).to(device)
    model = settings.model(garments, seed, "compact_cnn")
    config = settings.train_config(settings.garment_epochs, settings.batch_size, seed)
    fit(model, garments.train_images, garments.train_labels, config)
    found = []
    for part in PARTS:
        own = garments.test_labels == garments.class_names.index(part.garment)
        images = garments.test_images[own][:n_images]
        masks = [box_masks(part.box, images)]
        masks += elsewhere(images, masks[0], settings.draws, seed)
        layers = {}
        for layer in ("act3", "fc"):
            hidden, *others = (
                distance(one) for one in changes(model, images, masks, layer, fill=0)
            )
            random = torch.tensor([one.mean for one in others], dtype=torch.float64)
            layers[layer] = Correspondence(hidden, random)
        found.append(Corresponding(part, images, layers))
    return found


def elsewhere(images: Tensor, masks: Tensor, draws: int, seed: int) -> list[Tensor]:
    """Masks (N, H, W) of the same shape at random places, each at one place in all images.

    Only places that hide at least as much of the things as the part does, on a black background:
    what hides nothing changes nothing, alike in all images.
    """
    generator = torch.Generator().manual_seed(seed)
    least = (images[:, 0] * masks).sum()
    found: list[Tensor] = []
    while len(found) < draws:
        moved = moved_at_random(masks, generator, together=True)
        if (images[:, 0] * moved).sum() >= least:  # true of the part's own place, so it ends
            found.append(moved)
    return found


# --- choice of the architecture ----------------------------------------------------------------


class FirstLayer(NamedTuple):
    """A network's first layer: filters, and what they are measured by, in percent."""

    kernel: int
    stride: int
    filters: Tensor
    dead: float
    midrange: float
    aliased: float
    accuracy: float


FIRST_LAYERS = ((11, 4), (7, 2))
"""Sides and strides of the first filters: Krizhevsky's, and Zeiler and Fergus's."""


def first_layers(settings: Seeing, seed: int) -> list[FirstLayer]:
    """Train two networks that differ in their first layer, on images enlarged to 64x64.

    Half of the training images, half as many epochs: enough to tell them apart.
    """
    dataset = settings.load()
    count = max(1, settings.n_train // 2)
    enlarged = [
        F.interpolate(images, (64, 64), mode="bilinear", align_corners=False)
        for images in (dataset.train_images[:count], dataset.test_images)
    ]
    return [
        _first_layer(settings, dataset, enlarged, kernel, stride, seed)
        for kernel, stride in FIRST_LAYERS
    ]


def _first_layer(
    settings: Seeing,
    dataset: Dataset,
    enlarged: list[Tensor],
    kernel: int,
    stride: int,
    seed: int,
) -> FirstLayer:
    train_images, test_images = enlarged
    model = strided_cnn(dataset, train_images, kernel, stride, seed, settings.arithmetic[0])
    epochs = max(1, settings.epochs // 2)
    config = settings.train_config(epochs, settings.batch_size, seed)
    fit(model, train_images, dataset.train_labels[: len(train_images)], config)
    layer = model.get_submodule("conv1")
    return FirstLayer(
        kernel,
        stride,
        filters.filter_pictures(layer),
        100 * filters.dead_share(model, test_images, "act1"),
        100 * filters.midrange_share(layer).nanmean().item(),
        100 * filters.aliased_share(layer).nanmean().item(),
        evaluate(model, test_images, dataset.test_labels),
    )


def strided_cnn(
    dataset: Dataset, images: Tensor, kernel: int, stride: int, seed: int, dtype: torch.dtype
) -> nn.Sequential:
    """`compact_cnn` for 64x64 pixels whose first convolution has another kernel and stride."""
    channels = dataset.image_shape[0]
    scale = scale_layer("standardized", dtype, images)
    side = 8 * (-(-64 // stride) // 8)  # what is left behind the first layer, for three poolings
    model = compact_cnn(
        (channels, side, side), dataset.n_classes, seed=seed, dtype=dtype, scale=scale
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(ARCHITECTURE_SEED + seed)
        layer = nn.Conv2d(
            channels, COMPACT_WIDTHS[0], kernel, stride,
            padding=kernel // 2, dtype=dtype,
        )  # fmt: skip
    model.conv1 = layer
    return model.to(images.device)


# --- sanity checks -------------------------------------------------------------------------------


class Sanity(NamedTuple):
    """How alike a method's pictures stay when weights are drawn anew: by layer, beside the twin's.

    Mean rank correlations of absolute values; `layers` goes from the output down.  `edges` is
    the correlation of the pictures with an edge detector's, `shuffled` that with pictures from
    a network of shuffled labels, where there is one.
    """

    method: str
    layers: dict[str, float]
    twin: float
    edges: float
    shuffled: float | None = None


def sanity_checks(
    network: Network,
    twin: Network,
    images: Tensor,
    labels: Tensor,
    seeds: Sequence[int],
    shuffled: Network | None = None,
) -> list[Sanity]:
    """Gradient, guided backpropagation, deconvnet and an edge detector, as Adebayo et al. check."""
    head = class_layer(network.model)

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
    others = {"twin": twin.model} | ({} if shuffled is None else {"shuffled": shuffled.model})
    found = []
    for name, method in methods.items():
        checked = sanity.checks(method, network.model, images, seeds=seeds, others=others)
        alike = {key: one.absolute_rank.mean().item() for key, one in checked.others.items()}
        pictures = method(network.model, images)
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
                alike.get("shuffled"),
            )
        )
    return found


# --- recorded runs -----------------------------------------------------------------------------


class SeeingRun(RunConfig, Seeing):
    """One recorded network with everything that chapter 06 looks at; its images are bundled."""

    dataset: str = SHOWN_CLASSES
    n_train: Count = 4000
    n_test: Count = 2000
    learning_rate: Annotated[float, Field(gt=0)] = 1.0
    input_scale: Literal["released", "255", "unit", "standardized"] = "standardized"
    network: ModelName = "compact_cnn"
    layers: Annotated[tuple[str, ...], Field(strict=False, min_length=2)] = (
        *("act1", "act2", "act3"),
    )
    epochs: Count = 23
    shown_epochs: Epochs = (0, 1, 2, 4, 8, 14, 23)
    batch_size: Count = 50
    n_looked: Count = 100
    square: Count = 8
    stride: Count = 2
    n_garments: Count = 12_000
    garment_epochs: Count = 5
    draws: Count = 50

    @property
    def label(self) -> str:
        """Network and number of images."""
        return f"{self.network.replace('_', '-')}-{self.n_train}"

    @property
    def cost(self) -> float:
        """Images trained on, by all networks."""
        return 3 * self.epochs * self.n_train + self.garment_epochs * self.n_garments

    def run(self) -> "Seen":
        """Train the networks, and measure everything."""
        dataset = self.load()
        network, twin = (train(self, self.seed + more) for more in (0, TWIN_SEED))
        before = as_sequential(next(network.snapshots.models())[1])
        images, labels = right_images(network.model, dataset, self.n_looked)
        tops = {
            layer: [
                purity(top_of(model, dataset.test_images, layer), dataset.test_labels)
                .nanmean()
                .item()
                for model in (network.model, before)
            ]
            for layer in self.layers
        }
        moved = invariances(self, network.model, images, labels)
        hidden = occlusions(
            network.model, images, labels, self.layers[-1], self.square, self.stride
        )
        falls = [fall(one) for one in hidden]
        strongest = occlusions(before, images, labels, self.layers[-1], self.square, self.stride)
        return Seen(
            accuracies=tuple(network.history.test_accuracies),
            purity={layer: pure for layer, (pure, _) in tops.items()},
            purity_untrained={layer: pure for layer, (_, pure) in tops.items()},
            shown_epochs=network.snapshots.epochs,
            convergence={
                layer: tuple(values)
                for layer, values in convergence(network, images, self.layers).items()
            },
            moved={name: moved_apart(one, SMALL_MOVES[name]) for name, one in moved.items()},
            probability={
                name: tuple(one.probability.mean(dim=1).tolist()) for name, one in moved.items()
            },
            centre=sum(one.centre for one in falls) / len(falls),
            border=sum(one.border for one in falls) / len(falls),
            activity=_activity(hidden),
            activity_untrained=_activity(strongest),
            parts={
                one.part.name: {
                    layer: PartFound(part=each.part.mean, random=each.random_mean)
                    for layer, each in one.layers.items()
                }
                for one in corresponding(self, self.seed)
            },
            first_layers={
                f"{one.kernel}x{one.kernel}, stride {one.stride}": FirstLayerFound(
                    dead=one.dead,
                    midrange=one.midrange,
                    aliased=one.aliased,
                    accuracy=one.accuracy,
                )
                for one in first_layers(self, self.seed)
            },
            sanity={
                one.method: SanityFound(layers=one.layers, twin=one.twin, edges=one.edges)
                for one in sanity_checks(
                    network, twin, images[:50], labels[:50], range(self.seed, self.seed + 3)
                )
            },
        )


def _activity(found: list[OcclusionMaps]) -> float:
    """Largest fall of the strongest map's activity in percent, a mean over the images."""
    falls = [
        100 * (1 - (one.occluded.activity.min() / one.unoccluded.activity)).item() for one in found
    ]
    return sum(falls) / len(falls)


class PartFound(Result):
    """Hamming distance of changes, 0 to 1, when a part is hidden, and for random parts."""

    part: float
    random: float


class FirstLayerFound(Result):
    """Measures of a first layer in percent, and the network's test accuracy in percent."""

    dead: float
    midrange: float
    aliased: float
    accuracy: float


class SanityFound(Result):
    """Mean rank correlations of a method's pictures, as in `Sanity`."""

    layers: dict[str, float]
    twin: float
    edges: float


class Seen(Result):
    """Everything that chapter 06 measures, of one seed.

    Attributes:
        accuracies: test accuracy in percent by epoch.
        purity, purity_untrained: percent of a map's nine strongest images in one class, by layer,
            after training and before.
        shown_epochs: epochs of `convergence`, correlations with the last epoch by layer.
        moved: distance after small changes beside that of different images, by transformation
            and layer.
        probability: mean probability of the true class for each of `AMOUNTS`.
        centre, border: mean fall of the class's logit when these are hidden.
        activity, activity_untrained: largest fall in percent of the strongest map's activity
            when a square hides part of the image, in the network and before its training.
        parts: by part and layer.
        first_layers: by kernel and stride.
        sanity: by method.
    """

    accuracies: tuple[float, ...]
    purity: dict[str, float]
    purity_untrained: dict[str, float]
    shown_epochs: tuple[int, ...]
    convergence: dict[str, tuple[float, ...]]
    moved: dict[Transformation, dict[str, float]]
    probability: dict[Transformation, tuple[float, ...]]
    centre: float
    border: float
    activity: float
    activity_untrained: float
    parts: dict[str, dict[str, PartFound]]
    first_layers: dict[str, FirstLayerFound]
    sanity: dict[str, SanityFound]
