"""Claims of masum2022 on network inversion and network dissection."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import get_args

from fmlib.claims.judging import Claim, Found, Measured, Recorded
from fmlib.experiments.inversion import Way
from fmlib.stats import Estimate, paired
from fmlib.verdicts import Verdict, beyond, holds, in_all, sign

LAYERS = ("act1", "act2", "act3")
LAST, OUTPUT = "act3", "fc"
HIGHER = (LAST, OUTPUT)
"""Layers that count as higher ones."""
DISTANCE = "distance from the images (% of that of different images)"
OVERLAP = "intersection over union (points)"


def _errors(
    recorded: Recorded, way: str, layer: str, when: str = "after", column: str = "error"
) -> dict[int, float]:
    return recorded.by_seed(recorded.inverted, column, way=way, layer=layer, when=when)


def _mean_image(recorded: Recorded) -> dict[int, float]:
    return recorded.by_seed(recorded.inversion, "value", quantity="mean image")


def _deeper(recorded: Recorded) -> Found:
    effects = []
    for way in get_args(Way):
        for lower, upper in pairwise((*LAYERS, OUTPUT)):
            effect = paired(_errors(recorded, way, upper), _errors(recorded, way, lower))
            effects.append(Measured(f"{DISTANCE}, {way}: {upper} − {lower}", effect))
    control = paired(_mean_image(recorded), _errors(recorded, "up-convolution", LAST))
    measured = [
        *effects,
        Measured(f"{DISTANCE}: mean image − up-convolution from {LAST}", control, role="control"),
        Measured(
            f"{DISTANCE}, up-convolution from {LAST}: trained − before training",
            paired(
                _errors(recorded, "up-convolution", LAST),
                _errors(recorded, "up-convolution", LAST, "before"),
            ),
            role="context",
        ),
    ]
    verdict = in_all([holds(one.found) for one in effects])
    if verdict == Verdict.REPRODUCED and sign(control) != "above":
        verdict = Verdict.PARTLY
    return verdict, measured


def _more(recorded: Recorded) -> Found:
    gained = {
        layer: paired(
            _errors(recorded, "gradient", layer), _errors(recorded, "up-convolution", layer)
        )
        for layer in HIGHER
    }
    control = paired(_mean_image(recorded), _errors(recorded, "up-convolution", OUTPUT))
    alike = {
        layer: paired(
            _errors(recorded, "up-convolution", layer, column="similarity"),
            _errors(recorded, "gradient", layer, column="similarity"),
        )
        for layer in HIGHER
    }
    measured = [
        *(
            Measured(f"{DISTANCE}, {layer}: gradient − up-convolution", effect)
            for layer, effect in gained.items()
        ),
        Measured(f"{DISTANCE}: mean image − up-convolution from {OUTPUT}", control, role="control"),
        *(
            Measured(
                f"structural similarity, {layer}: up-convolution − gradient",
                effect,
                role="context",
                form="+.2f",
            )
            for layer, effect in alike.items()
        ),
    ]
    return _controlled(in_all([holds(one) for one in gained.values()]), [control]), measured


def _controlled(verdict: Verdict, controls: list[Estimate | None]) -> Verdict:
    """Only partly unless every control is surely exceeded."""
    if verdict == Verdict.REPRODUCED and any(sign(one) != "above" for one in controls):
        return Verdict.PARTLY
    return verdict


def _means(layers: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Mean over the layers, by seed."""
    return {seed: fmean(one[seed] for one in layers) for seed in layers[0]} if layers else {}


def _units(recorded: Recorded) -> Found:
    def excess(state: str) -> dict[int, float]:
        rows = recorded.rows(recorded.dissected, state=state)
        own, shuffled = (
            [recorded.by_seed(rows, column, layer=layer) for layer in LAYERS]
            for column in ("iou", "shuffled")
        )
        mean, other = _means(own), _means(shuffled)
        return {seed: mean[seed] - other[seed] for seed in mean}

    trained, untrained = excess("trained"), excess("untrained")
    effect = paired(trained, dict.fromkeys(trained, 0.0))
    control = paired(trained, untrained)
    name = f"{OVERLAP} of units with their best concept, beyond shuffled units"
    measured = [
        Measured(f"{name}: trained", effect),
        Measured(f"{name}: trained − before training", control, role="control"),
    ]
    return beyond(effect, control), measured


def _combinations(recorded: Recorded) -> Found:
    def mean(column: str, state: str = "trained") -> dict[int, float]:
        rows = recorded.rows(recorded.combined, state=state, category="all")
        return _means([recorded.by_seed(rows, column, layer=layer) for layer in LAYERS])

    effect = paired(mean("combined"), mean("single"))
    controls = [
        paired(mean("combined_free"), mean("single_free")),
        paired(mean("combined"), mean("combined", "untrained")),
    ]
    name = f"{OVERLAP} on new images"
    measured = [
        Measured(f"{name}: combination − best unit, cut as published", effect),
        Measured(f"{name}: combination − best unit, each cut freely", controls[0], role="control"),
        Measured(f"{name}: combination − before training", controls[1], role="control"),
    ]
    return _controlled(holds(effect), controls), measured


CLAIMS = (
    Claim(
        id="inversion-depth",
        words="What a layer holds is enough to find the image again, less of it the deeper the "
        "layer.",
        measure="% of the distance of different images, deeper − lower layer; control: mean image "
        "− up-convolution from the last maps",
        where="masum2022, III-B",
        chapter="inversion_and_dissection",
        target="tab-inversion",
        rule="In both ways the distance from the images grows from each layer to the next, the "
        "output included; only partly if from the last maps it is not below that of the mean "
        "image.",
        judge=_deeper,
        verdict=Verdict.REPRODUCED,
        text="From each layer to the next less of the image is found, by both ways, and from the "
        "last maps still far more than the mean image shows. But this is no sign of what has been "
        "learnt: the up-convolutional network finds more of it in maps of random filters.",
    ),
    Claim(
        id="up-convolution",
        words="At higher layers an up-convolutional network shows more of the real image than "
        "regularized inversion.",
        measure="% of the distance of different images, gradient − up-convolution; control: mean "
        "image − up-convolution from the output",
        where="masum2022, III-B",
        chapter="inversion_and_dissection",
        target="tab-inversion",
        rule="From the last maps and from the output the up-convolutional network's pictures are "
        "nearer to the images than those of gradient descent; only partly if from the output they "
        "are not nearer than the mean image.",
        judge=_more,
        verdict=Verdict.REPRODUCED,
        text="From the output clearly so; from the last maps the lead is small, and it rests on "
        "the network having seen images: gradient descent, which has not, comes near where it is "
        "given many steps. The measure is the one that the network is trained for.",
    ),
    Claim(
        id="unit-concepts",
        words="Single units can be tied to concepts.",
        measure="points of intersection over union, units − shuffled units; control: − before "
        "training",
        where="masum2022, III-C",
        chapter="inversion_and_dissection",
        target="tab-dissection",
        rule="On average over three layers, units overlap with their best concept more than with "
        "the masks of other images; only partly if not by more than before training.",
        judge=_units,
        verdict=Verdict.PARTLY,
        text="Units overlap with their best concept many times more than with the masks of other "
        "images, nearly every one of them. On average they do so before training as well: random "
        "filters are detectors of colours, and colours are what nearly all units are tied to.",
    ),
    Claim(
        id="combined-concepts",
        words="Combinations of units represent a concept better than single ones.",
        measure="points of intersection over union, combination − best unit; controls: each cut "
        "freely, − before training",
        where="masum2022, III-C",
        chapter="inversion_and_dissection",
        target="tab-combinations",
        rule="On new images and on average over three layers and all concepts, combinations fit "
        "better than the best single unit, both cut as published; only partly if not also when "
        "each may choose its cut, or not better than before training.",
        judge=_combinations,
        verdict=Verdict.REPRODUCED,
        text="Combinations fit new images better than the best unit. When the unit may choose its "
        "cut as freely, less than half of the lead is left, and in the middle layer none: much of "
        "what a combination gains is that it may cover more pixels. Combinations of random filters "
        "come near.",
    ),
)
