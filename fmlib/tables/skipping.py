"""Tables of what skipping similar images does beyond skipping any (chapter 02)."""

from collections.abc import Mapping
from itertools import product

import pandas as pd

from fmlib import evidence, published
from fmlib.experiments.caching import INPUT_SCALES, walk_steps
from fmlib.experiments.skipping import RULES
from fmlib.tables.cells import interval, middle, number, seed_counts, spread

NO_HIT = "epochs without a hit"


def recorded_rules(recorded: pd.DataFrame, batch_size: int) -> pd.DataFrame:
    """Every rule at one batch size: what it leaves out, and how accurate that is, by seed.

    Of the seeds that all have; differences are paired by seed, with the median.
    """
    recorded, rows = evidence.shared_seeds(recorded, batch_size), []
    for condition, name in RULES.items():
        final = evidence.final(recorded, batch_size, condition)
        row = {"Images are left out by": name, "n": evidence.counted(final)}
        row["Recorded: left out (%)"] = interval(evidence.left_out(recorded, batch_size, condition))
        row["test accuracy (%)"] = interval(final)
        for other in ("plain", "cached"):
            gain = evidence.final_differences(recorded, batch_size, condition, other)
            known = bool(evidence.finished(gain)) and condition != other
            text = f"{interval(gain, sign='+')}, median {middle(gain, sign='+')}"
            row[f"− {other} (points)"] = text if known else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def recorded_until(recorded: pd.DataFrame, batch_size: int, accuracy: float = 97) -> pd.DataFrame:
    """What every rule had spent when an epoch first ended at an accuracy: runs, images, operations.

    Means are over the runs that got there.
    """
    rows = []
    for condition, name in RULES.items():
        spent = {
            heading: {
                seed: None if value is None else value / unit
                for seed, value in evidence.until(
                    recorded, batch_size, condition, accuracy, column
                ).items()
            }
            for heading, (column, unit) in SPENT.items()
        }
        reached = next(iter(spent.values()))
        count = f"{len(evidence.finished(reached))} of {len(reached)}"
        row = {"Images are left out by": name, "Recorded: runs that got there": count}
        rows.append(row | {heading: interval(values) for heading, values in spent.items()})
    return pd.DataFrame(rows)


SPENT = {
    "epochs": ("epoch", 1.0),
    "steps": ("steps", 1.0),
    "images trained on (thousands)": ("images", 1e3),
    "multiply-adds (10¹²)": ("operations", 1e12),
}
"""Heading, column of the evidence, and unit of what a training costs."""


def recorded_scoring(recorded: pd.DataFrame, batch_size: int = 4096) -> pd.DataFrame:
    """What looking images up costs if nothing is left out: operations over those of plain training.

    The authors' log has the ratio of seconds.
    """
    rows = {c: evidence.of_condition(recorded, batch_size, c) for c in ("plain", "scored")}
    epochs = {c: r[r["epoch"] == 1].set_index("seed")["operations"] for c, r in rows.items()}
    ratio = (epochs["scored"] / epochs["plain"]).dropna()
    return pd.DataFrame(
        [
            {
                "A cache that leaves nothing out": "multiply-adds of an epoch over plain training",
                "n": str(len(ratio)),
                "Recorded": spread(ratio, 3),
            }
        ]
    )


def recorded_readings(variants: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """From printed to released, one switch more in each row: what is skipped, and why.

    Thresholds and similarities are means over classes and seeds, at the end of the last epoch
    that all readings were recorded for.
    """
    table = []
    for (option, value, _), runs in zip(
        walk_steps(), evidence.readings(variants, recorded), strict=True
    ):
        first, last = (runs[runs["epoch"] == epoch] for epoch in (1, evidence.READING_EPOCHS))
        skipped = [evidence.left_out(part, 4096, "cached") for part in (first, last)]
        table.append(
            {
                "Option": option or "–",
                "Set to": str(value),
                "n": evidence.counted(skipped[1]),
                "Recorded: skipped, epoch 1 (%)": interval(skipped[0]),
                f"skipped, epoch {evidence.READING_EPOCHS} (%)": interval(skipped[1]),
                "threshold": number(last["threshold"].mean(), ".4f"),
                "similarity": number(last["similarity"].mean(), ".4f"),
                f"test accuracy, epoch {evidence.READING_EPOCHS} (%)": interval(
                    evidence.outcomes(last, "test_accuracy")
                ),
            }
        )
    return pd.DataFrame(table)


MENDED = "missing_class ignore"
"""The released cache, in which a class without a vector cannot win."""


def recorded_mended(variants: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """The paper's headline, batch size 32: the released cache with its fault and without it."""
    size = 32
    mended = variants[variants["reading"] == MENDED]
    tables: Mapping[str, tuple[pd.DataFrame, str, str]] = {
        "no cache": (recorded, "plain", "plain"),
        "released": (recorded, "cached", "cached"),
        "mended": (mended, "cached", ""),
        "random skipping": (recorded, "random", ""),
    }
    plain, log = evidence.final(recorded, size, "plain"), published.authors_log()
    rows = []
    for name, (table, condition, known) in tables.items():
        final = evidence.final(table, size, condition)
        logged = log[(log["batch_size"] == size) & (log["training"] == known)]
        printed = published.FIG8[f"{known}_test"][size] if known else None
        cached = condition == "cached"
        rows.append(
            {
                "Cache": name,
                "Published: test (%)": number(printed, ".2f"),
                f"Log: {NO_HIT}": _without_hit(logged["hits"]) if known else "–",
                "n": evidence.counted(final),
                f"Recorded: {NO_HIT}": interval(_off(table, size)) if cached else "–",
                "left out (%)": interval(evidence.left_out(table, size, condition)),
                "test (%)": interval(final, 2),
                "− no cache (points)": "–"
                if condition == "plain"
                else interval(evidence.differences(final, plain), 2, "+"),
            }
        )
    return pd.DataFrame(rows)


def _without_hit(hits: "pd.Series[float]") -> str:
    return f"{int((hits == 0).sum())} of {len(hits)}" if hits.notna().all() else "–"


def _off(table: pd.DataFrame, size: int) -> dict[int, float | None]:
    """Epochs in which a cached run skipped nothing, by seed."""
    runs = evidence.of_condition(table, size, "cached")
    counts = (runs["skipped"] == 0).groupby(runs["seed"]).sum()
    return dict(zip(counts.index.tolist(), map(float, counts), strict=True))


def recorded_input_scales(variants: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """Plain training at batch size 4096 by what the network is fed and the learning rate."""
    rows = []
    for scale, rate in product(INPUT_SCALES, (0.01, 0.1)):
        runs = _fed(variants, recorded, scale, rate)
        tests = {e: evidence.outcomes(runs, "test_accuracy", epoch=e) for e in (1, 2, 3)}
        row = {"Input scale": scale, "Learning rate": f"{rate:g}", "n": seed_counts([tests[3]])}
        accuracies = {f"epoch {e} (%)": interval(found) for e, found in tests.items()}
        rows.append(row | {f"Recorded: {name}": text for name, text in accuracies.items()})
    return pd.DataFrame(rows)


def _fed(variants: pd.DataFrame, recorded: pd.DataFrame, scale: str, rate: float) -> pd.DataFrame:
    """Plain runs at one input scale and learning rate; the released ones stand with Fig. 7."""
    plain = variants[(variants["dataset"] == "mnist") & (variants["condition"] == "plain")]
    if (scale, rate) == ("255", 0.01):
        runs = evidence.of_condition(recorded, 4096, "plain")
        return runs[runs["seed"].isin(plain["seed"])]
    return plain[(plain["input_scale"] == scale) & (plain["learning_rate"] == rate)]


def recorded_clothes(variants: pd.DataFrame) -> pd.DataFrame:
    """Fashion-MNIST: plain, cached and random skipping at three batch sizes, paired by seed."""
    clothes = variants[variants["dataset"] == "fashion-mnist"]
    rows = []
    for size in sorted(clothes["batch_size"].unique()):
        epochs = int(clothes[clothes["batch_size"] == size]["epoch"].max())
        final = {c: evidence.final(clothes, size, c) for c in ("plain", "cached", "random")}
        differences = [
            evidence.final_differences(clothes, size, "cached", c) for c in ("plain", "random")
        ]
        rows.append(
            {
                "Batch size": str(size),
                "Epochs": str(epochs),
                "n": seed_counts(final.values()),
                "Recorded: left out (%)": interval(evidence.left_out(clothes, size, "cached")),
                "plain (%)": interval(final["plain"]),
                "cached − plain (points)": interval(differences[0], sign="+"),
                "cached − random (points)": interval(differences[1], sign="+"),
            }
        )
    return pd.DataFrame(rows)


def recorded_exits(exits: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Leaving a network of the paper's size at test time, by layer (park2019)."""
    rows = []
    for layer, runs in exits[exits["dataset"] == dataset].groupby("layer", sort=False):
        columns = {name: evidence.outcomes(runs, name) for name in EXITS}
        rows.append(
            {"Layer": str(layer), "n": seed_counts([columns["leave"]])}
            | {EXITS[name]: interval(found) for name, found in columns.items()}
        )
    return pd.DataFrame(rows)


EXITS = {
    "leave": "Recorded: leave (%)",
    "right": "precision (%)",
    "network_right": "network on the same (%)",
    "accuracy": "accuracy (%)",
    "network": "without exits (%)",
    "nearest": "all by nearest class (%)",
    "saved": "multiply-adds saved (%)",
}
"""Headings by column of the evidence."""


def recorded_depth(depth: pd.DataFrame) -> pd.DataFrame:
    """Caches of single convolutions of the deeper network on CIFAR-10, paired by seed."""
    plain = evidence.final_at_layer(depth, None)
    rows = []
    for layer in evidence.cache_layers(depth):
        cached, random = (evidence.final_at_layer(depth, layer, c) for c in ("cached", "random"))
        runs = depth[(depth["layer"] == layer) & (depth["condition"] == "cached")]
        size = int(runs["batch_size"].iloc[0])
        rows.append(
            {
                "Cache of": layer,
                "n": seed_counts([cached]),
                "Recorded: left out (%)": interval(evidence.left_out(runs, size, "cached")),
                "plain (%)": interval(plain),
                "cached (%)": interval(cached),
                "cached − plain (points)": interval(evidence.differences(cached, plain), sign="+"),
                "cached − random (points)": interval(
                    evidence.differences(cached, random), sign="+"
                ),
            }
        )
    return pd.DataFrame(rows)
