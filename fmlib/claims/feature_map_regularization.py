"""Claims of sections 2 and 7.2: feature maps as training images."""

from collections.abc import Sequence
from math import log10
from typing import Literal

from fmlib import published
from fmlib.claims.judging import CONTROLLED, Claim, Found, Measured, Recorded, mean_of, negative
from fmlib.stats import Estimate, paired, share
from fmlib.verdicts import Verdict, beyond, fewer, holds, in_all, in_any

ROWS = [(row.dataset, row.batch_size) for row in published.FIG9]


def _further(recorded: Recorded, row: int, images: str, column: str) -> dict[int, float]:
    dataset, size = ROWS[row]
    chosen = {"dataset": dataset, "batch_size": size, "images": images}
    return recorded.by_seed(recorded.further, column, **chosen)


def _map_models(recorded: Recorded, row: int) -> frozenset[tuple[str, bool]]:
    """The records of a row's map models, and which of these diverged."""
    dataset, size = ROWS[row]
    chosen = {"dataset": dataset, "batch_size": size, "images": "maps"}
    return recorded.ends(recorded.further, "test", **chosen)


def _row_name(row: int) -> str:
    return "{}, batch {}".format(*ROWS[row])


def _blurred(recorded: Recorded) -> Found:
    verdicts, measured = [], []
    for row in range(len(ROWS)):
        blurred, sharp = (_further(recorded, row, "maps", c) for c in ("blurred", "sharp"))
        better = paired(blurred, sharp)
        verdicts.append(in_all([holds(mean_of(blurred), 0.5), holds(better)]))
        name = f"{_row_name(row)}: squared correlation of maps with the"
        measured += [
            Measured(f"{name} blurred images", mean_of(blurred), form=".2f"),
            Measured(f"{name} blurred − sharp images", better, role="control", form="+.2f"),
        ]
    return in_all(verdicts), measured


def _changes(
    recorded: Recorded, column: Literal["gap", "test"], name: str
) -> tuple[list[tuple[Estimate | None, Estimate | None]], list[Measured]]:
    """Of map models, by row of Fig. 9: against base model and control on originals."""
    pairs, measured = [], []
    for row, known in enumerate(published.FIG9):
        maps = _further(recorded, row, "maps", column)
        base = _further(recorded, row, "maps", f"base_{column}")
        change = paired(maps, base)
        over = paired(maps, _further(recorded, row, "originals", column))
        pairs.append((change, over))
        printed = getattr(known.maps, column) - getattr(known.base, column)
        text, runs = f"{_row_name(row)}, {name}: maps −", _map_models(recorded, row)
        measured += [
            Measured(f"{text} base (points)", change, printed, runs=runs),
            Measured(f"{text} control on originals (points)", over, role="control", runs=runs),
        ]
    return pairs, measured + _longer(recorded, column, name)


GENTLER = "gentler (inputs 0 to 1, learning rate 0.1), ten epochs on maps, batch 256"


def _longer(recorded: Recorded, column: str, name: str) -> list[Measured]:
    """The same at a setting at which no training on maps fails."""
    maps = _way(recorded, "each_map", column)
    changes = {
        "base": paired(maps, _way(recorded, "base", column)),
        "control on originals": paired(maps, _way(recorded, "originals", column)),
    }
    return [
        Measured(f"{GENTLER}, {name}: maps − {other} (points)", change, role="context")
        for other, change in changes.items()
    ]


def _way(recorded: Recorded, way: str, column: str) -> dict[int, float]:
    return recorded.by_seed(recorded.ways, column, way=way, last=True)


def _regularize(recorded: Recorded) -> Found:
    pairs, measured = _changes(recorded, "gap", "train − test gap")
    return in_all([beyond(negative(gap), negative(over)) for gap, over in pairs]), measured


def _better_test(recorded: Recorded) -> Found:
    pairs, measured = _changes(recorded, "test", "test accuracy")
    return in_any([beyond(gain, over) for gain, over in pairs]), measured


def _more_epochs(recorded: Recorded) -> Found:
    verdicts, measured = [], []
    for row in range(len(ROWS)):
        changes = {images: _last_minus_first(recorded, row, images) for images in _COPIES}
        change, over = mean_of(changes["maps"]), paired(changes["maps"], changes["originals"])
        verdicts.append(beyond(negative(change), negative(over)))
        name = f"{_row_name(row)}, test accuracy, last − first epoch on maps"
        control, runs = f"{name}: maps − control on originals", _map_models(recorded, row)
        measured += [
            Measured(f"{name} (points)", change, runs=runs),
            Measured(f"{control} (points)", over, role="control", runs=runs),
        ]
    first = recorded.by_seed(recorded.ways, "test", way="each_map", epoch=1)
    change = paired(_way(recorded, "each_map", "test"), first)
    name = f"{GENTLER}: test accuracy, last − first epoch (points)"
    measured.append(Measured(name, change, role="context"))
    return in_all(verdicts), measured


_COPIES = ("maps", "originals")


def _last_minus_first(recorded: Recorded, row: int, images: str) -> dict[int, float]:
    dataset, size = ROWS[row]
    rows = recorded.rows(recorded.further, dataset=dataset, batch_size=size, images=images)
    known = rows[~rows["diverged"].astype(bool)]
    tests = zip(known["seed"], known["tests"], strict=True)
    return {seed: accuracies[-1] - accuracies[0] for seed, accuracies in tests}


def _overfit(recorded: Recorded) -> Found:
    changes = {}
    for column in ("gap", "test"):
        longer, base = (_further(recorded, 0, "originals", c) for c in (column, f"base_{column}"))
        changes[column] = paired(longer, base)
    name = "batch 64, ten further epochs on the images: change of"
    measured = [
        Measured(f"{name} the train − test gap (points)", changes["gap"]),
        Measured(f"{name} test accuracy (points)", changes["test"], role="context"),
    ]
    return in_all([holds(changes["gap"]), holds(negative(changes["test"]))]), measured


def _undefined(
    recorded: Recorded, activation: str, images: str, rate: float = 0.01
) -> Estimate | None:
    """Share of trainings that end in a loss that is no number, on these images or before them."""
    chosen = {"activation": activation, "images": images, "learning_rate": rate}
    ends = recorded.rows(recorded.undefined, **chosen)["undefined"]
    failed = [end is None or end != end or bool(end) for end in ends]
    return share(sum(failed), len(failed)) if failed else None


def _ends(recorded: Recorded, cases: Sequence[tuple[str, str]]) -> list[Measured]:
    names = {"relu": "ReLU", "leaky_relu": "leaky ReLU"}
    return [
        Measured(
            f"{names[activation]}, {images}: share of trainings with an undefined loss",
            _undefined(recorded, activation, images),
            role="control" if number else "effect",
            form=".2f",
        )
        for number, (activation, images) in enumerate(cases)
    ]


def _nan(recorded: Recorded) -> Found:
    measured = _ends(recorded, [("relu", "maps before"), ("relu", "originals")])
    return fewer(measured[1].found, measured[0].found), measured


def _nan_cause(recorded: Recorded) -> Found:
    """Negative values are the cause if training without them ends well, and only then."""
    images = ("maps before", "absolute maps before", "maps before / 255")
    measured = _ends(recorded, [("relu", kind) for kind in images])
    signs, scale = (fewer(m.found, measured[0].found) for m in measured[1:])
    both = signs == scale == Verdict.REPRODUCED
    return (Verdict.PARTLY if both else signs), measured


def _vanishing(recorded: Recorded) -> Found:
    """In powers of ten, since the norms of the gradients differ by orders of magnitude."""
    norms = {}
    for images in ("maps before", "originals"):
        chosen = {"activation": "relu", "images": images, "learning_rate": 0.01}
        found = recorded.by_seed(recorded.undefined, "gradient", **chosen)
        norms[images] = {seed: log10(norm) for seed, norm in found.items() if norm > 0}
    ratio = paired(norms["maps before"], norms["originals"])
    name = "first gradient on maps over that on the images (powers of ten)"
    return holds(negative(ratio)), [Measured(name, ratio)]


def _nan_cure(recorded: Recorded) -> Found:
    cases = [("relu", "maps before"), ("relu", "maps after"), ("leaky_relu", "maps before")]
    measured = _ends(recorded, cases)
    return in_all([fewer(m.found, measured[0].found) for m in measured[1:]]), measured


CLAIMS = (
    Claim(
        id="blurred",
        words="Feature maps are blurred versions of the images.",
        measure="squared correlation of maps with blurred images; control: blurred − sharp images",
        where="section 2",
        chapter="feature_map_regularization",
        target="fig-map-images",
        rule="In every row of Fig. 9 the squared correlation of maps with the images under the "
        "best of five blurs is above one half, and higher than with the images themselves.",
        judge=_blurred,
        verdict=Verdict.REPRODUCED,
        text="By this measure they are: a slight blur of the image explains more of a map than the"
        " image itself does, if only by a little on Fashion-MNIST.",
    ),
    Claim(
        id="regularize",
        words="Training on feature maps regularizes.",
        measure="points of train − test gap, maps − base; control: − originals",
        where="sections 1 and 7.2, Fig. 9",
        chapter="feature_map_regularization",
        target="fig-9-recorded",
        rule="The gap between training and test accuracy shrinks in every row; partly if in some. "
        + CONTROLLED.format("the base model", "training as long on the originals"),
        judge=_regularize,
        verdict=Verdict.INCONCLUSIVE,
        text="At batch 64 no map model could be trained to the end: within the first steps each "
        "loss became undefined. In the other rows the gap changes by no more than it differs "
        "between seeds; a change of the published size is ruled out on Fashion-MNIST. On MNIST the"
        " map models have lost accuracy on training and on test images alike. With inputs of 0 to 1"
        " the gap narrows by a fraction of a point, not surely beyond that of the control, and "
        "test accuracy falls.",
    ),
    Claim(
        id="better-test",
        words="After few epochs on feature maps the model is better on test images.",
        measure="points, maps − base; control: − originals",
        where="section 7.2, Fig. 9",
        chapter="feature_map_regularization",
        target="fig-9-recorded",
        rule="Test accuracy rises in one row at least. "
        + CONTROLLED.format("the base model", "training as long on the originals"),
        judge=_better_test,
        verdict=Verdict.PARTLY,
        text="On Fashion-MNIST it is, as published; but training as long on the originals brings "
        "more. On MNIST the map models lose much of their accuracy, or cannot be trained to the "
        "end. Either the authors' network came through by luck, or their settings differ from the "
        "released ones in something that is not told.",
    ),
    Claim(
        id="more-epochs",
        words="More epochs on feature maps lower the accuracy.",
        measure="points, last − first epoch on maps; control: maps − originals",
        where="section 7.2",
        chapter="feature_map_regularization",
        target="fig-9-epochs-recorded",
        rule="In every row of Fig. 9 test accuracy after the last epoch on maps is below that "
        "after the first; partly if in some. "
        + CONTROLLED.format("the first epoch", "training as long on the originals"),
        judge=_more_epochs,
        verdict=Verdict.NOT_REPRODUCED,
        text="Where a map model can be trained at all, its accuracy after the last epoch lies "
        "above that after the first, if not after every epoch between. On MNIST it is the first "
        "one that costs most. The small runs of the chapter do fall with the epochs, two of three "
        "rows of them.",
    ),
    Claim(
        id="overfit",
        words="Models overfit when they are trained for more epochs.",
        measure="points of train − test gap after ten more epochs",
        where="section 7.2",
        chapter="feature_map_regularization",
        target="fig-9-recorded",
        rule="After ten further epochs on the images the gap between training and test accuracy is "
        "wider and test accuracy lower; partly if one of them.",
        judge=_overfit,
        verdict=Verdict.PARTLY,
        text="The gap widens, by a fraction of a point; test accuracy rises as well. Twice as many"
        " epochs as the paper's do no harm.",
    ),
    Claim(
        id="nan",
        words="Training on feature maps gives undefined losses.",
        measure="share of trainings; control: on the original images",
        where="section 7.2",
        chapter="feature_map_regularization",
        target="tab-undefined-recorded",
        rule="With maps taken before the activation more trainings end in an undefined loss than "
        "on the original images: the intervals of the shares do not overlap.",
        judge=_nan,
        verdict=Verdict.REPRODUCED,
        text="It happens to about half of the networks at the released learning rate, and most of "
        "the others learn hardly anything.",
    ),
    Claim(
        id="nan-cause",
        words="The undefined losses come from negative values in the maps.",
        measure="share of trainings on maps; controls: without signs, divided by 255",
        where="section 7.2",
        chapter="feature_map_regularization",
        target="tab-undefined-recorded",
        rule="With the maps' signs taken away fewer trainings end in an undefined loss (the "
        "intervals do not overlap); partly if that is so, too, with all signs kept and the maps "
        "divided by 255.",
        judge=_nan_cause,
        verdict=Verdict.PARTLY,
        text="Taking the signs away helps, since it makes the first step smaller. So does dividing"
        " the maps by 255, with all their negative values kept.",
    ),
    Claim(
        id="vanishing",
        words="Zeros after ReLU make the gradients vanish, and thus the loss undefined.",
        measure="powers of ten, first gradient on maps over that on the images",
        where="section 7.2",
        chapter="feature_map_regularization",
        target="tab-undefined-recorded",
        rule="Before the first step the gradient is smaller on maps than on the images.",
        judge=_vanishing,
        verdict=Verdict.NOT_REPRODUCED,
        text="It is the other way round: the gradient of the first step on maps is larger than "
        "that on the images by orders of magnitude, and the loss is undefined within the first "
        "epoch. Units die too, later, where training goes on; a dead network has a finite loss.",
    ),
    Claim(
        id="nan-cure",
        words="Maps after the activation, or leaky ReLU, help.",
        measure="share of trainings on maps; controls: after the activation, leaky ReLU",
        where="section 7.2",
        chapter="feature_map_regularization",
        target="tab-undefined-recorded",
        rule="With either remedy fewer trainings end in an undefined loss, that of the base model "
        "included (the intervals do not overlap); partly if with one of them.",
        judge=_nan_cure,
        verdict=Verdict.PARTLY,
        text="Maps after the activation end with a finite loss, though they hardly train. Leaky "
        "ReLU does not help: at the released input scale and learning rate most networks with it "
        "end in an undefined loss on the images themselves.",
    ),
)
