"""Results of chapters 05 and 06 made by hand, as the experiments return them."""

import torch
from torch import Tensor, nn

from fmlib.experiments.feature_evolution import Course, Gallery, Shown, Trained
from fmlib.experiments.looks import AMOUNTS, MapByEpoch, Network, Sanity
from fmlib.experiments.looks import Shown as ShownMaps
from fmlib.experiments.seeing import PARTS, AtEpoch, Corresponding, FirstLayer
from fmlib.experiments.seeing import at_epochs as at_epochs_of
from fmlib.visualization.correspondence import Correspondence, Distance
from fmlib.visualization.evolution import Snapshots
from fmlib.visualization.invariance import Invariance, Transformation
from fmlib.visualization.occlusion import OcclusionMaps, Response
from fmlib.visualization.top_activations import Projections
from fmlib.visualization.units import Unit
from tests import results, toy


def gallery(epochs: tuple[int, ...], starts: int = 1) -> Gallery:
    """Pictures (1, 2, 2) of two classes: at first both of class 0, at the end each of its own.

    For `judging`: a picture is of class 0 if its first pixel is the brightest, else of class 1.
    """
    first, second = [[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]
    before, after = (torch.tensor([[first], [one]]).double() for one in (first, second))
    by_epoch = torch.stack([after if epoch else before for epoch in epochs])  # (E, 2, 1, 2, 2)
    pictures = by_epoch[:, None].expand(-1, starts, -1, -1, -1, -1)
    numbers = torch.tensor([2.0, 4.0]).expand(len(epochs), starts, 2)
    return Gallery(epochs, pictures, numbers, numbers / 10)


def judging() -> nn.Sequential:
    """For pictures of `gallery`; all but sure of itself."""
    return toy.linear_net([[50, 0, 0, 0], [0, 50, 0, 0]])


def shown(course: Course, accuracies: tuple[float, ...] = (60.0, 80.0)) -> Shown:
    """A course of two epochs; from scratch with both regularizers."""
    history = results.history([*accuracies], 0)
    epochs = tuple(range(len(accuracies) + 1))
    trained = Trained(
        course, history, Snapshots(2**20), [Unit("fc", 0), Unit("fc", 1)], train_accuracy=95.0
    )
    names = ("small", "published") if course == "scratch" else ("small",)
    return Shown(
        trained,
        {name: gallery(epochs) for name in names},  # type: ignore[misc]
        {name: gallery((0, epochs[-1]), 2) for name in names},  # type: ignore[misc]
    )


def maps() -> list[ShownMaps]:
    """Two layers of three maps, two of them shown; one is never excited."""
    classes = torch.tensor([[0] * 9, [0, 0, 0, 0, 0, 1, 1, 1, 1]])
    patches = results.images(9, 1, 4, 4)
    inside = torch.ones(9, 4, 4, dtype=torch.bool)
    projections = [Projections(patches - 0.5, patches, inside)] * 2
    return [
        ShownMaps(layer, (2, 0), projections, classes, torch.ones(2, 9), pure, untrained)
        for layer, pure, untrained in (
            ("act1", torch.tensor([60.0, torch.nan, 40.0]), 45.0),
            ("act3", torch.tensor([100.0, torch.nan, 80.0]), 46.0),
        )
    ]


def map_by_epoch() -> MapByEpoch:
    """A map before training and after one epoch."""
    pictures = results.images(2, 3, 4, 4)
    return MapByEpoch("act1", 7, (0, 1), pictures - 0.5, pictures)


def network() -> Network:
    """A network of which two epochs are kept."""
    model, snapshots = toy.pixel_cnn(), Snapshots(2**20)
    for epoch in (0, 1):
        snapshots(epoch, model)
    return Network(model, snapshots, results.history([50.0], 0))


def invariances() -> dict[Transformation, Invariance]:
    """The first layer moves 3, the output 1, different images being 4 apart; two images."""

    def one(name: Transformation) -> Invariance:
        size = len(AMOUNTS[name]), 2
        distances = {"act1": torch.full(size, 3.0), "fc": torch.full(size, 1.0)}
        return Invariance(
            name, AMOUNTS[name], distances, {"act1": 4.0, "fc": 4.0}, torch.full(size, 0.5)
        )

    return {name: one(name) for name in AMOUNTS}


def occluded() -> list[OcclusionMaps]:
    """Of two images; hiding the middle of nine places takes 4 of a logit of 5, the rest 1."""
    logits = torch.full((3, 3), 4.0)
    logits[1, 1] = 1.0
    prediction = (logits < 2).long()
    places = Response(logits / 5, logits, prediction, logits)
    whole = Response(torch.tensor(1.0), torch.tensor(5.0), torch.tensor(0), torch.tensor(5.0))
    return [OcclusionMaps(places, whole, target, "act3", 0, 4, 2, (8, 8)) for target in (0, 1)]


def corresponding() -> list[Corresponding]:
    """Every part's changes differ in 20 % of the features, random ones in 30 and 40 %."""
    random = torch.tensor([0.3, 0.4])
    layers = {name: Correspondence(Distance(10, 0.2), random) for name in ("act3", "fc")}
    return [Corresponding(part, results.images(5, 1, 28, 28), layers) for part in PARTS]


def at_epochs() -> list[AtEpoch]:
    """Everything by epoch, before training and after one epoch."""
    moved: dict[Transformation, dict[str, tuple[float, ...]]] = {
        "translation": {"act1": (0.6, 0.5), "fc": (0.4, 0.2)}
    }
    return at_epochs_of((0, 1), moved, (0.0, 2.0), (0.0, 1.0), [{"act3": 0.0}, {"act3": 0.1}])


def first_layers() -> list[FirstLayer]:
    """Two first layers of five filters."""
    filters: Tensor = results.images(5, 3, 7, 7)
    return [
        FirstLayer(11, 4, filters, 20.0, 40.0, 90.0, 70.0),
        FirstLayer(7, 2, filters, 5.0, 50.0, 60.0, 75.0),
    ]


def sanity() -> list[Sanity]:
    """Two methods, weights drawn anew down to the first layer."""
    return [
        Sanity("gradient", {"fc": 0.6, "conv1": 0.1}, 0.5, 0.2, 0.25),
        Sanity("deconvnet", {"fc": 0.7, "conv1": -0.3}, 0.6, -0.1, 0.3),
    ]
