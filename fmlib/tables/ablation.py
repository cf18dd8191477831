"""Tables of chapter 08."""

from collections.abc import Mapping, Sequence

import pandas as pd
from torch import nn

from fmlib import evidence, models, published
from fmlib.experiments.ablation import (
    VARIANTS,
    WAY_NAMES,
    Random,
    Trained,
    Variant,
    variant_parameters,
)
from fmlib.experiments.transfer import (
    THRESHOLDS,
    Shared,
    Transferred,
)
from fmlib.models import ImageShape
from fmlib.recipe import PUBLISHED, Recipe
from fmlib.tables.cells import difference, interval, recorded_in, stated, summary, written

NEEDED = dict(
    zip(
        published.ZF_IMAGENET,
        (
            "ImageNet 2012, one network",
            "ImageNet 2012, two networks",
            "ImageNet 2012 with its hidden test labels, several networks",
        ),
        strict=True,
    )
)
"""What it would take to repeat the numbers published for ImageNet."""


def imagenet() -> pd.DataFrame:
    """What is published of ImageNet and cannot be tested here."""
    rows = [
        {
            "Quantity": name,
            "Published": f"{value:g}",
            "Recorded": "–",
            "This run": "–",
            "It would need": NEEDED[name],
            "Verdict": "*not testable here*",
        }
        for name, value in published.ZF_IMAGENET.items()
    ]
    return pd.DataFrame(rows)


def _of(
    recorded: pd.DataFrame, column: str, variant: Variant, way: str = "recipe"
) -> evidence.Outcomes:
    return evidence.by_seed(recorded, column, variant=variant, way=way)


def layers(model: nn.Module, image_shape: ImageShape) -> pd.DataFrame:
    """The layers of a network with weights: what they put out, and their parameters."""
    named = dict(model.named_children())
    rows = [
        {
            "Layer": row.name,
            "Kind": row.kind,
            "Output": "×".join(map(str, row.shape)),
            "Parameters": f"{models.parameter_count(named[row.name]):,}",
        }
        for row in models.layer_table(model, image_shape)
        if models.parameter_count(named[row.name])
    ]
    return pd.DataFrame(rows)


def recipe(recorded: Recipe, live: Recipe) -> pd.DataFrame:
    """The recipe as published and as taken here."""
    names = {
        "crop": "side of the crops, of the image's (%)",
        "flips": "half of the crops are mirrored",
        "batch_size": "images of a step",
        "learning_rate": "learning rate at the start",
        "momentum": "momentum",
        "patience": "lowered after so many epochs without gain",
        "factor": "lowered by the factor",
        "latest": "lowered at the latest, of all epochs (%)",
        "dropout": "dropout in layers 6 and 7",
        "weight_scale": "deviation of the first weights",
        "radius": "largest root mean square of a filter",
        "epochs": "epochs",
    }
    by_hand = dict.fromkeys(("patience", "factor", "latest"), "by hand")
    return pd.DataFrame(
        {
            "Setting": names.values(),
            "Published": [by_hand.get(name, _setting(name, PUBLISHED)) for name in names],
            "Recorded": [_setting(name, recorded) for name in names],
            "This run": [_setting(name, live) for name in names],
        }
    )


def _setting(name: str, recipe: Recipe) -> str:
    value = getattr(recipe, name)
    if value is None:
        return "√(2 / inputs)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{100 * value:g}" if name in ("crop", "latest") else f"{value:g}"


def ablation(
    found: Mapping[Variant, Trained],
    random: Random,
    chance: float,
    recorded: pd.DataFrame,
    image_shape: ImageShape,
    n_classes: int,
) -> pd.DataFrame:
    """Every network: parameters, training and test accuracy in percent."""
    heading = recorded_in(_of(recorded, "test_accuracy", "full"))
    rows = []
    for variant in VARIANTS:
        parameters, linear = variant_parameters(variant, image_shape, n_classes)
        live = found.get(variant)
        rows.append(
            {
                "Network": variant,
                "Parameters": f"{parameters:,}",
                "in 6, 7 (%)": f"{100 * linear / parameters:.0f}",
                f"{heading}: training (%)": interval(_of(recorded, "train_accuracy", variant)),
                "test (%)": interval(_of(recorded, "test_accuracy", variant)),
                "This run: training (%)": "–" if live is None else f"{live.train_accuracy:.1f}",
                "This run: test (%)": "–" if live is None else f"{live.test_accuracy:.1f}",
            }
        )
    softmax = [_of(recorded, f"{kind}_accuracy", "full", "untrained") for kind in ("train", "test")]
    rows.append(
        {
            "Network": "*control:* full, untrained, softmax on its features",
            "Parameters": f"{random.parameters:,}",
            "in 6, 7 (%)": "–",
            f"{heading}: training (%)": interval(softmax[0]),
            "test (%)": interval(softmax[1]),
            "This run: training (%)": f"{random.train_accuracy:.1f}",
            "This run: test (%)": f"{random.test_accuracy:.1f}",
        }
    )
    always = f"{chance:.1f}"
    rows.append(
        {
            "Network": "*control:* always the same class",
            "Parameters": "0",
            "in 6, 7 (%)": "–",
            **dict.fromkeys([f"{heading}: training (%)", "test (%)"], always),
            **dict.fromkeys(["This run: training (%)", "This run: test (%)"], always),
        }
    )
    return pd.DataFrame(rows)


def recorded_ablation_differences(recorded: pd.DataFrame) -> pd.DataFrame:
    """Every network against the full one, paired by seed, in points."""
    rows = []
    for variant in VARIANTS:
        if variant == "full":
            continue
        row: dict[str, str] = {"Network": variant}
        for head, column in {
            "test accuracy": "test_accuracy",
            "training accuracy": "train_accuracy",
            "gap": "gap",
        }.items():
            pair = [_of(recorded, column, one) for one in (variant, "full")]
            known = evidence.differences(*pair)
            row[f"{head} (points)"] = interval(known, sign="+")
        rows.append(row)
    return pd.DataFrame(rows)


def recorded_training_ways(recorded: pd.DataFrame) -> pd.DataFrame:
    """The full network trained in other ways than by the recipe."""
    rows, heading = [], recorded_in(_of(recorded, "test_accuracy", "full"))
    for way, name in WAY_NAMES.items():
        test = _of(recorded, "test_accuracy", "full", way)
        known = evidence.differences(test, _of(recorded, "test_accuracy", "full"))
        rows.append(
            {
                "Trained by": name,
                "Training (%)": interval(_of(recorded, "train_accuracy", "full", way)),
                f"{heading}: test (%)": interval(test),
                "Less the recipe (points)": "–" if way == "recipe" else interval(known, sign="+"),
            }
        )
    return pd.DataFrame(rows)


def training_seconds(found: Mapping[Variant, Trained], recorded: pd.DataFrame) -> pd.DataFrame:
    """Time divided by that of the full network: recorded, of the whole run on a processor."""
    rows = []
    full = evidence.by_seed(recorded, "seconds", variant="full", way="recipe")
    heading = recorded_in(full)
    for variant in VARIANTS:
        own = evidence.by_seed(recorded, "seconds", variant=variant, way="recipe")
        known = {seed: own[seed] / full[seed] for seed in own.keys() & full.keys()}
        live = None
        if {variant, "full"} <= {*found}:
            live = found[variant].seconds / found["full"].seconds
        rows.append(
            {
                "Network": variant,
                f"{heading}: processor time": interval(known, 2),
                "This run: training": "–" if live is None else f"{live:.2f}",
            }
        )
    return pd.DataFrame(rows)


def _transfer_of(
    recorded: pd.DataFrame, transfer: str, features: str, layer: str, size: int
) -> evidence.Outcomes:
    chosen = {"transfer": transfer, "features": features, "layer": layer, "size": size}
    return evidence.by_seed(recorded, "accuracy", **chosen)


def transfer(found: Transferred, recorded: pd.DataFrame, name: str) -> pd.DataFrame:
    """Test accuracy by number of images, for every layer's features, pixels, and from scratch.

    `name` is that of the transfer, as its recorded runs have it.
    """
    live: dict[tuple[str, str], Sequence[float]] = {
        (kind, layer): values
        for kind, layers in found.features.items()
        for layer, values in layers.items()
    }
    live |= {("pixels", ""): found.pixels}
    live |= {("scratch", ""): [one.test_accuracy for one in found.scratch]}
    first = found.sizes[0]
    heading = recorded_in(_transfer_of(recorded, name, "pixels", "", first))
    rows = []
    for (kind, layer), values in live.items():
        row = {"Softmax on": SOFTMAX_NAMES[kind].format(layer)}
        for size in found.sizes:
            head = f"{size} a class (%)"
            head = f"{heading}: {head}" if size == first else f"Recorded: {head}"
            row[head] = interval(_transfer_of(recorded, name, kind, layer, size))
        for size, value in zip(found.sizes, values, strict=True):
            row[f"This run: {size} a class (%)"] = f"{value:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


SOFTMAX_NAMES = {
    "trained": "{}",
    "untrained": "{}, untrained",
    "pixels": "pixels",
    "scratch": "– (network from scratch)",
}


def overlaps(found: Sequence[Shared], recorded: pd.DataFrame) -> pd.DataFrame:
    """Test images with a training image of at least such a correlation."""
    rows = []
    for one in found:
        known = recorded[recorded["sets"] == one.name].set_index("threshold")
        for origin in ("Recorded", "This run"):
            if origin == "Recorded" and known.empty:
                continue
            first = known.iloc[0] if origin == "Recorded" else None
            n_test = len(one.images) if first is None else int(first["n_test"])
            n_others = len(one.others) if first is None else int(first["n_compared"])
            counts = one.counts() if first is None else known["count"].to_dict()
            rows.append(
                {
                    "Test and training images": one.name,
                    "Run": origin,
                    "Numbers": f"{n_test:,} and {n_others:,}",
                    **{f"≥ {t:g}": f"{int(counts[t]):,}" for t in THRESHOLDS},
                }
            )
    return pd.DataFrame(rows)


def recorded_without_duplicates(recorded: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on all test images, and on those without a near-duplicate in training."""
    rows, heading = [], recorded_in(_of(recorded, "test_accuracy", "full"))
    for variant in VARIANTS:
        every = _of(recorded, "test_accuracy", variant)
        without = _of(recorded, "accuracy_without_duplicates", variant)
        rows_of = recorded[(recorded["variant"] == variant) & (recorded["way"] == "recipe")]
        count = {int(n) for n in rows_of["duplicates"]}
        rows.append(
            {
                "Network": variant,
                "Near-duplicates": ", ".join(map(str, sorted(count))) or "–",
                f"{heading}: all test images (%)": interval(every, 2),
                "without them (%)": interval(without, 2),
                "difference (points)": interval(evidence.differences(without, every), 2, "+"),
            }
        )
    return pd.DataFrame(rows)


def ablation_summary(
    found: Mapping[Variant, Trained],
    moved: Transferred,
    ablated: pd.DataFrame,
    transfers: pd.DataFrame,
) -> pd.DataFrame:
    """What chapter 08 comes to."""
    rows = []
    for variant in ("no 6, 7", "no 3, 4", "no 3, 4, 6, 7"):
        known = evidence.differences(
            _of(ablated, "test_accuracy", variant), _of(ablated, "test_accuracy", "full")
        )
        live = "–"
        if {variant, "full"} <= {*found}:
            live = difference([found[variant].test_accuracy], [found["full"].test_accuracy])
        rows.append((f"test accuracy, {variant} − full (points)", stated(known, sign="+"), live))
    size = moved.sizes[0]
    last = [*moved.features["trained"]][-1]
    for other, layer in (("scratch", ""), ("untrained", last), ("pixels", "")):
        pair = (
            _transfer_of(transfers, "cifar10-to-cifar10", kind, place, size)
            for kind, place in (("trained", last), (other, layer))
        )
        mine = moved.features["trained"][last][0]
        theirs = {
            "scratch": moved.scratch[0].test_accuracy,
            "untrained": moved.features["untrained"][last][0],
            "pixels": moved.pixels[0],
        }[other]
        text = f"{size} images a class: softmax on {last} − {SUMMARY_NAMES[other]} (points)"
        known = evidence.differences(*pair)
        rows.append((text, stated(known, sign="+"), written(mine - theirs, "+.1f")))
    return summary([(name, "–", "–", known, live) for name, known, live in rows])


SUMMARY_NAMES = {
    "scratch": "network from scratch",
    "untrained": "the same untrained",
    "pixels": "on pixels",
}
