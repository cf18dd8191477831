"""Tables of chapter 09."""

from collections.abc import Mapping, Sequence

import pandas as pd

from fmlib import evidence
from fmlib.experiments.similar_kernels import Edge
from fmlib.experiments.similar_training import CONDITION_NAMES, Condition, Course, Measures
from fmlib.experiments.similarity import COMPARED, FEWER, RESNET_CONDITIONS, RESNET_WIDTHS, Cached
from fmlib.tables.cells import (
    difference,
    interval,
    middle,
    recorded_in,
    stated,
    summary,
    written,
)

AT_START: tuple[Condition, ...] = (
    *("baseline", "initialized", "shrunk", "restored", "unit", "complete", "orthogonal"),
)
"""Conditions that differ before training."""
AT_END: tuple[Condition, ...] = (
    *("baseline", "initialized", "regularized", "strong", "unit_strong", "decay"),
    *("orthogonality", "decov"),
)
"""Conditions whose trained networks are measured."""
USUAL: dict[str, object] = {
    "steps": "sgd", "iterations": 500, "width": 1.0, "network": "base_cnn",
}  # fmt: skip
"""What most recorded runs of CNN1 have in common."""
RESNET: dict[str, object] = {"network": "resnet18", "steps": "momentum"}
"""What the recorded runs of ResNet18 have in common."""


def _known(recorded: pd.DataFrame, quantity: str, **chosen: object) -> dict[int, float]:
    return evidence.by_seed(recorded, "value", quantity=quantity, **{**USUAL, **chosen})


def edge_terms(edges: Mapping[str, Sequence[Edge]]) -> pd.DataFrame:
    """How far the product of two maps is from that of correlations, by padding."""
    return pd.DataFrame(
        {
            "Images": name,
            "Padding": one.padding,
            "Channels": one.channels if name != "grey" else "one",
            "Left out, mean": _small(one.mean),
            "largest": _small(one.largest),
        }
        for name, found in edges.items()
        for one in found
    )


def _small(share: float) -> str:
    """A share of the norms in percent; rounding alone is told from nothing."""
    return "rounding" if share < 1e-9 else f"{100 * share:.2f} %"


MEASURE_NAMES = {
    "similarity": "Loss",
    "norms": "Norms",
    "scale_free": "Scale-free",
    "complete": "All pairs",
    "kernel_cosine": "Kernels",
    "maps": "Maps",
    "activations": "after ReLU",
    "dead": "Dead (%)",
}
"""What is measured of a network, for headings."""
_FORMS = {"dead": ".1f", "maps": ".3f", "activations": ".3f", "kernel_cosine": ".4f"}


def recorded_measures(
    recorded: pd.DataFrame, network: str, time: str, conditions: Sequence[Condition]
) -> pd.DataFrame:
    """What is measured of a network at a time, by condition: means over the recorded seeds."""
    return pd.DataFrame(
        {
            "Condition": CONDITION_NAMES[condition],
            **_measured(recorded, time, network=network, condition=condition),
        }
        for condition in conditions
    )


def _measured(recorded: pd.DataFrame, time: str, **chosen: object) -> dict[str, str]:
    row: dict[str, str] = {}
    known: dict[int, float] = {}
    for quantity, name in MEASURE_NAMES.items():
        known = _known(recorded, f"{time} {quantity}", **chosen)
        row[name] = _brief(known, _FORMS.get(quantity, ".3g"))
    return {**row, "n": evidence.counted(known)}


def _brief(known: Mapping[int, float], form: str) -> str:
    values = [*known.values()]
    return written(round(sum(values) / len(values), 12), form) if values else "–"


def fall(reference: Measures, found: Measures) -> tuple[float, float]:
    """What is left of the loss beside a reference: the factors of norms and of dissimilarity."""
    norms = found.norms / reference.norms
    return norms, (found.loss / reference.loss) / norms


def falls(courses: Mapping[Condition, Course]) -> dict[Condition, tuple[float, float]]:
    """Of every condition, beside the baseline: before training where it begins otherwise."""
    base = courses["baseline"]
    found: dict[Condition, tuple[float, float]] = {}
    for condition, course in courses.items():
        if condition == "baseline":
            continue
        same = course.begun == base.begun
        pair = (base.trained, course.trained) if same else (base.begun, course.begun)
        found[condition] = fall(*pair)
    return found


def decomposition(courses: Mapping[Condition, Course], recorded: pd.DataFrame) -> pd.DataFrame:
    """By how many times the loss is lower than the baseline's, and what that is the product of."""
    rows, lower = [], evidence.similarity_falls(recorded)
    seeds = recorded_in(_known(recorded, "accuracy", condition="baseline"))
    for condition, (norms, alike) in falls(courses).items():
        time = "trained" if courses[condition].begun == courses["baseline"].begun else "begun"
        known = {
            name: evidence.by_seed(lower, name, condition=condition, time=time, **USUAL)
            for name in ("loss", "norms", "scale_free")
        }
        rows.append(
            {
                "Condition": CONDITION_NAMES[condition],
                "Measured": "after training" if time == "trained" else "before training",
                f"{seeds}: loss lower": _times(middle(known["loss"])),
                "of it norms": _times(middle(known["norms"])),
                "dissimilarity": _times(middle(known["scale_free"])),
                "This run: loss lower": _factor(1 / (norms * alike)),
                "This run: norms": _factor(1 / norms),
                "This run: dissimilarity": _factor(1 / alike),
            }
        )
    return pd.DataFrame(rows)


def _times(text: str) -> str:
    return text if text == "–" else f"{text} times"


def _factor(value: float) -> str:
    return f"{written(value, ',.1f')} times"


def condition_accuracy(courses: Mapping[Condition, Course], recorded: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy by condition, recorded for both networks, and of this run."""
    names = {"base_cnn": "CNN1", "compact_cnn": "CNN2"}
    rows = []
    for condition, name in CONDITION_NAMES.items():
        course = courses.get(condition)
        row = {"Condition": name}
        for network, short in names.items():
            known = _known(recorded, "accuracy", network=network, condition=condition)
            base = _known(recorded, "accuracy", network=network, condition="baseline")
            row[f"{short}, {recorded_in(base)}"] = interval(known)
        accuracy = "–" if course is None else f"{course.test_accuracies[-1]:.1f}"
        row["CNN1, this run"] = accuracy
        rows.append(row)
    return pd.DataFrame(rows)


def similar_caches(found: Mapping[Condition, Cached], recorded: pd.DataFrame) -> pd.DataFrame:
    """The cache of chapter 02 on first layers whose maps are more and less alike."""
    columns = {
        "map_cosine": ("Maps' cosine", 2),
        "nearest_begun": ("Nearest class, before (%)", 1),
        "nearest": ("after (%)", 1),
        "skipped": ("Skipped (%)", 1),
        "test_accuracy": ("Accuracy (%)", 1),
    }
    rows = []
    for condition, one in found.items():
        known = {name: evidence.by_seed(recorded, name, condition=condition) for name in columns}
        name = f"{CONDITION_NAMES[condition]} ({recorded_in(known['nearest']).lower()})"
        ours = {head: f"{getattr(one, name):.{d}f}" for name, (head, d) in columns.items()}
        theirs = {head: interval(known[name], d) for name, (head, d) in columns.items()}
        rows.append({"Beginning": name, **theirs})
        rows.append({"Beginning": "this run", **ours})
    return pd.DataFrame(rows)


def smaller_networks(recorded: pd.DataFrame) -> pd.DataFrame:
    """CNN2 of fewer maps by beginning: differences in points of test accuracy."""
    rows = []
    for width in (*FEWER, 1.0):
        for condition in COMPARED[1:]:
            gains = {}
            for quantity in ("accuracy", "late"):
                own, base, whole = (
                    _known(recorded, quantity, network="compact_cnn", condition=name, width=size)
                    for name, size in (
                        (condition, width), ("baseline", width), ("baseline", 1.0),
                    )
                )  # fmt: skip
                gains[quantity] = [evidence.differences(own, other) for other in (base, whole)]
            rows.append(
                {
                    "Maps": f"{width:g}" if condition == COMPARED[1] else "",
                    "Beginning": CONDITION_NAMES[condition],
                    "n": evidence.counted(gains["accuracy"][0]),
                    "− as small without": interval(gains["accuracy"][0], sign="+"),
                    "mean of last 3": interval(gains["late"][0], sign="+"),
                    "− whole without": interval(gains["accuracy"][1], sign="+"),
                }
            )
    return pd.DataFrame(rows)


def recorded_resnet(recorded: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of ResNet18 by width and beginning; dashes where nothing is recorded."""
    rows = []
    for width in RESNET_WIDTHS:
        known = {
            (condition, quantity): _known(
                recorded, quantity, condition=condition, width=width, **RESNET
            )
            for condition in RESNET_CONDITIONS
            for quantity in ("early", "late", "accuracy")
        }
        for condition in RESNET_CONDITIONS:
            gains = {
                quantity: evidence.differences(
                    known[condition, quantity], known["baseline", quantity]
                )
                for quantity in ("accuracy", "late")
                if condition != "baseline"
            }
            rows.append(
                {
                    "Width": "" if gains else str(width),
                    "Beginning": CONDITION_NAMES[condition],
                    "After 2 epochs (%)": interval(known[condition, "early"]),
                    "In the end (%)": stated(known[condition, "accuracy"]),
                    "− baseline": interval(gains.get("accuracy", {}), sign="+"),
                    "Mean of last 3, − baseline": interval(gains.get("late", {}), sign="+"),
                }
            )
    return pd.DataFrame(rows)


def resnet_measures(recorded: pd.DataFrame) -> pd.DataFrame:
    """What is measured of ResNet18 before training and after it, by width and beginning."""
    return pd.DataFrame(
        {
            "Width": f"{width}, {text}" if condition == "baseline" else "",
            "Beginning": CONDITION_NAMES[condition],
            **_measured(recorded, time, condition=condition, width=width, **RESNET),
        }
        for width in RESNET_WIDTHS
        for time, text in (("begun", "before"), ("trained", "after"))
        for condition in RESNET_CONDITIONS
    )


def similarity_summary(courses: Mapping[Condition, Course], recorded: pd.DataFrame) -> pd.DataFrame:
    """What chapter 09 comes to."""
    base = courses["baseline"]
    rows = []
    for condition in ("initialized", "restored", "complete"):
        own, name = courses[condition], CONDITION_NAMES[condition]
        gains = [
            evidence.differences(
                _known(recorded, quantity, condition=condition),
                _known(recorded, quantity, condition="baseline"),
            )
            for quantity in ("begun maps", "accuracy")
        ]
        maps = [_mean_cosine(one.begun) for one in (own, base)]
        accuracy = [one.test_accuracies[-1:] for one in (own, base)]
        text = "CNN1 − baseline"
        rows += [
            (f"absolute cosine of maps before training, {name}: {text}", "–", "–",
             stated(gains[0], 2, "+"), written(maps[0] - maps[1], "+.2f")),
            (f"test accuracy, {name}: {text} (points)", "–", "–",
             stated(gains[1], sign="+"), difference(*accuracy)),
        ]  # fmt: skip
    return summary(rows)


def _mean_cosine(found: Measures) -> float:
    values = [value for layer, value in found.maps.items() if layer.startswith("conv")]
    return sum(values) / len(values)
