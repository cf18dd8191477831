"""Tables of chapter 02."""

from collections.abc import Callable, Iterable
from itertools import product
from operator import truediv
from statistics import fmean, median
from typing import Any, Literal

import pandas as pd
from torch import Tensor

from fmlib import evidence, published
from fmlib.experiments import caching
from fmlib.experiments.caching import CONDITION_NAMES, CONDITIONS, Comparison, Condition, Reading
from fmlib.tables.cells import (
    difference,
    frame,
    interval,
    listed,
    middle,
    number,
    recorded_in,
    seed_counts,
    spread,
    stated,
    summary,
    this_run,
)

KNOWN: tuple[Condition, ...] = ("plain", "cached")
"""Conditions that the paper and the log have."""


def _by_epoch(
    runs: list[Comparison],
    condition: Condition,
    value: Callable[[Any], float],
    digits: int = 1,
) -> "pd.Series[str]":
    """A number of every epoch (the index), over the seeds whose runs came so far."""
    epochs = [e for run in runs for e in getattr(run, condition).history.epochs]
    numbers = pd.Series([value(e) for e in epochs])
    return numbers.groupby([e.epoch for e in epochs]).agg(lambda seeds: spread(seeds, digits))


def _epoch_table(columns: dict[str, "pd.Series[str]"]) -> pd.DataFrame:
    """Columns by epoch side by side, as far as those of this run go."""
    last = max(column.index.max() for head, column in columns.items() if "This run" in head)
    table = pd.DataFrame(columns).loc[:last].fillna("–").rename_axis("Epoch")
    return table.reset_index().astype({"Epoch": str})


def caching_accuracy(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 7: test accuracy in percent after every epoch, plain, cached and random."""
    columns = {f"Published: {c}": published.FIG7[c].map("{:.1f}".format) for c in KNOWN}
    for c, name in CONDITION_NAMES.items():
        columns[f"{this_run(len(runs))}: {name}"] = _by_epoch(runs, c, lambda e: e.test_accuracy)
    return _epoch_table(columns)


def recorded_caching(recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 7 in full: test accuracy in percent after every epoch at batch 4096."""
    table = {f"Published: {c}": published.FIG7[c].map("{:.1f}".format) for c in KNOWN}
    for c, name in CONDITION_NAMES.items():
        known = _epochs(recorded, c)
        table[f"{recorded_in(known[1])}: {name}"] = known.map(interval)
    return pd.DataFrame(table).rename_axis("Epoch").reset_index()


def _epochs(
    recorded: pd.DataFrame, condition: str, column: str = "test_accuracy"
) -> "pd.Series[Any]":
    """A number of every epoch of Fig. 7 (the index) by seed, under one condition."""
    rows = evidence.of_condition(recorded, 4096, condition)
    epochs = published.FIG7.index
    return pd.Series([evidence.outcomes(rows, column, epoch=e) for e in epochs], index=epochs)


def recorded_spread(recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 7: range of plain training over seeds, and how many runs the published ones beat."""
    plain, cached = ([*map(evidence.finished, _epochs(recorded, c))] for c in KNOWN)
    ranges = [f"{min(v):.1f} to {max(v):.1f}" if v else "–" for v in plain]
    table: dict[str, Any] = {f"Recorded, n = {len(plain[0])}: plain, lowest to highest": ranges}
    for c in KNOWN:
        table[f"Published: {c}"] = published.FIG7[c].map("{:.1f}".format)
        table[f"Published {c} is above plain"] = [*map(_rank, published.FIG7[c], plain)]
    table["above cached"] = [*map(_rank, published.FIG7["cached"], cached)]
    return pd.DataFrame(table, index=published.FIG7.index).rename_axis("Epoch").reset_index()


def _rank(value: float, known: list[float]) -> str:
    return f"{sum(value > x for x in known)} of {len(known)}" if known else "–"


def caching_hits(runs: list[Comparison], recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 7: images skipped in every epoch, as a share, and images trained on."""
    hits, trained = 100 * published.FIG7["hits"] / 60_000, published.FIG7["trained"]
    known = _epochs(recorded, "cached", "share")
    skipped = _by_epoch(runs, "cached", lambda e: 100 * e.skipped / e.seen)
    return _epoch_table(
        {
            "Published: skipped (%)": hits.map("{:.1f}".format),
            "Published: trained": trained.map("{:,}".format),
            f"{recorded_in(known[1])}: skipped (%)": known.map(interval),
            f"{this_run(len(runs))}: skipped (%)": skipped,
            "This run: trained": _by_epoch(runs, "cached", lambda e: e.trained, 0),
            "This run: random, trained": _by_epoch(runs, "random", lambda e: e.trained, 0),
        }
    )


def caching_seconds(runs: list[Comparison], benchmarks: pd.DataFrame) -> pd.DataFrame:
    """Fig. 7: median seconds per epoch, and their ratio to plain training.

    The ratio of the benchmarks is that of whole runs at the same batch size, with its range.
    """
    log = published.authors_log().query("batch_size == 4096")
    logged = log.groupby("training")["seconds"].median()
    ours = {
        c: [median(e.seconds for e in getattr(run, c).history.epochs) for run in runs]
        for c in CONDITIONS
    }
    n, measured = "", {}
    for _, row in benchmarks[benchmarks["name"] == "cached run, authors' settings"].iterrows():
        n, low, high = f", n = {row['n']}", row["low"], row["high"]
        measured = {"plain": "1.00", "cached": f"{row['ratio']:.2f} ({low:.2f}–{high:.2f})"}
    columns: dict[str, Callable[[Condition], str]] = {
        "Training": lambda c: CONDITION_NAMES[c],
        "Authors' log: seconds": lambda c: number(logged.get(c), ".1f"),
        "Authors' log: ratio": lambda c: number((logged / logged["plain"]).get(c), ".2f"),
        f"Benchmarks{n}: ratio": lambda c: measured.get(c, "–"),
        f"{this_run(len(runs))}: seconds": lambda c: spread(ours[c], 2),
        "This run: ratio": lambda c: spread(map(truediv, ours[c], ours["plain"]), 2),
    }
    return frame(CONDITIONS, columns)


def batch_sizes(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 8: train and test accuracy in percent after training, over batch sizes.

    The authors' log adds in how many of ten epochs the cache skipped nothing at all.
    """
    rows = []
    for size, split in product(sorted({run.batch_size for run in runs}), ("train", "test")):
        chosen = [run for run in runs if run.batch_size == size]
        row = {"Batch size": str(size), "Images": split}
        row |= {f"Published: {c}": _fig8(size, c, split) for c in KNOWN}
        row["Authors' log: epochs without a hit"] = _log_epochs_without_hit(size)
        for c, name in CONDITION_NAMES.items():
            ours = [getattr(getattr(run, c), f"{split}_accuracy") for run in chosen]
            row[f"{this_run(len(chosen))}: {name}"] = spread(ours)
        row["This run: epochs without a hit"] = _epochs_without_hit([r.cached for r in chosen])
        rows.append(row)
    return pd.DataFrame(rows)


def recorded_batch_sizes(recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 8 in full: train and test accuracy in percent after training, over batch sizes."""
    rows = []
    for size, split in product(published.FIG8.index, ("train", "test")):
        known = [evidence.final(recorded, size, c, f"{split}_accuracy") for c in CONDITIONS]
        row = {"Batch size": str(size) if split == "train" else "", "Images": split}
        row |= {f"Published: {c}": _fig8(size, c, split) for c in KNOWN}
        row["n"] = seed_counts(known)
        names = CONDITION_NAMES.values()
        row |= {f"Recorded: {n}": interval(k) for n, k in zip(names, known, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def _fig8(size: int, condition: Condition, split: str) -> str:
    value = published.FIG8[f"{condition}_{split}"].get(size)
    return number(value, ".3f" if value == 99.685 else ".2f")


def recorded_differences(recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 8 in full: differences of final test accuracy in points, paired by seed.

    Mean and interval, and the median.
    """
    gain = published.FIG8["cached_test"] - published.FIG8["plain_test"]
    rows = []
    for size in published.FIG8.index:
        known = [evidence.final_differences(recorded, size, *pair) for pair in evidence.PAIRS]
        skipped = evidence.of_condition(recorded, size, "cached")["skipped"]
        row = {"Batch size": str(size), "Published: cached − plain": number(gain[size], "+.2f")}
        row["n"] = seed_counts(known)
        for pair, differences in zip(evidence.PAIRS, known, strict=True):
            first, second = (CONDITION_NAMES[condition] for condition in pair)
            heading = f"Recorded: {first} − {second}"
            row[heading] = interval(differences, sign="+")
            if differences:
                row[heading] += f", median {middle(differences, sign='+')}"
        without = f"{(skipped == 0).sum()} of {len(skipped)}" if len(skipped) else "–"
        rows.append(row | {"Recorded: epochs without a hit": without})
    return pd.DataFrame(rows)


def _log_epochs_without_hit(size: int) -> str:
    log = published.authors_log()
    hits = log[(log["batch_size"] == size) & (log["training"] == "cached")]["hits"]
    return f"{(hits == 0).sum()} of {len(hits)}" if len(hits) else "–"


def _epochs_without_hit(runs: list[caching.Run]) -> str:
    """By seed."""
    histories = [run.history.epochs for run in runs]
    return ", ".join(f"{sum(e.skipped == 0 for e in h)} of {len(h)}" for h in histories)


def similarity_stages(found: list[caching.Stages], recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 5 and 6: how similar ten images are to ten cached vectors, early and late."""
    early = _similarities("early", [stages.early for stages in found], recorded)
    late = _similarities("late", [stages.late for stages in found], recorded)
    rows = [row for quantity in zip(early, late, strict=True) for row in quantity]
    lower = [bool(late.similarity.min() < early.similarity.min()) for early, late, _ in found]
    quantity = "seeds in which the late similarities reach lower than the early ones"
    full = [_reach_lower(recorded, size) for size in STAGE_SIZES]
    rows.append((quantity, "no", *full, f"{sum(lower)} of {len(lower)}"))
    seeds = [evidence.outcomes(_stage(recorded, size, "early"), "lowest") for size in STAGE_SIZES]
    headings = [f"{recorded_in(n)}: batch {s}" for n, s in zip(seeds, STAGE_SIZES, strict=True)]
    columns = ["Quantity", "Published", *headings, f"{this_run(len(found))}, by seed"]
    return pd.DataFrame(rows, columns=columns)


def _similarities(
    name: Literal["early", "late"], live: list[caching.Stage], recorded: pd.DataFrame
) -> list[tuple[str, ...]]:
    """Quantity, published, recorded at both batch sizes, and live, for one stage."""
    known, figure = {"early": (published.FIG5, 5), "late": (published.FIG6, 6)}[name]
    at, own = f"{name} (Fig. {figure})", "class whose image is least similar to its own vector"
    printed = str(known.image) if known.image == known.cached else "–"
    full = [_stage(recorded, size, name) for size in STAGE_SIZES]
    lowest = [interval(evidence.outcomes(rows, "lowest"), 3) for rows in full]
    images, owns = ([_classes(rows, column) for rows in full] for column in ("image", "own"))
    now = spread([_lowest(one).min().item() for one in live], 3)
    now_image = listed(int(one.labels[_lowest(one).argmin()]) for one in live)
    now_own = listed(int(one.labels[_own(one).argmin()]) for one in live)
    now_mean = listed(int(one.own.nan_to_num(nan=1.0).argmin()) for one in live)
    return [
        (f"lowest similarity, {at}", f"{known.lowest:.3f}", *lowest, now),
        (f"class of that image, {at}", str(known.image), *images, now_image),
        (f"{own}, {at}", printed, *owns, now_own),
        (f"the same for the mean of all test images, {at}", printed, "–", "–", now_mean),
    ]


STAGE_SIZES = (64, 4096)
"""Batch sizes at which early and late caches, and caches without a threshold, are recorded."""


def _stage(recorded: pd.DataFrame, batch_size: int, stage: str) -> pd.DataFrame:
    return recorded[(recorded["batch_size"] == batch_size) & (recorded["stage"] == stage)]


def _classes(rows: pd.DataFrame, column: str) -> str:
    return listed(f"{label:.0f}" for label in evidence.outcomes(rows, column).values())


def _reach_lower(recorded: pd.DataFrame, batch_size: int) -> str:
    early, late = (_stage(recorded, batch_size, stage) for stage in ("early", "late"))
    lowest = [evidence.by_seed(rows, "lowest") for rows in (early, late)]
    lower = [lowest[1][seed] < lowest[0][seed] for seed in lowest[0].keys() & lowest[1].keys()]
    return f"{sum(lower)} of {len(lower)}" if lower else "–"


def _lowest(stage: caching.Stage) -> Tensor:
    """Lowest similarity of each image (images,) to a cached vector that is defined."""
    return stage.similarity.nan_to_num(nan=1.0).amin(dim=1)


def _own(stage: caching.Stage) -> Tensor:
    """Similarity of each image (images,) to the vector of its own class, 1 if it has none."""
    return stage.similarity.nan_to_num(nan=1.0).gather(1, stage.labels[:, None])[:, 0]


def readings(found: list[Reading], against: Literal["previous", "first"]) -> pd.DataFrame:
    """Images skipped and test accuracy of one reading after the other.

    The change of the share skipped is that of the last epoch, paired by seed, against the row
    before or the first row.
    """
    n = this_run(len(found[0].runs))
    skipped = [[run.skipped(-1) for run in reading.runs] for reading in found]
    others = skipped[:-1] if against == "previous" else skipped[:1] * (len(found) - 1)
    return pd.DataFrame(
        {
            "Option": [reading.option or "–" for reading in found],
            "Set to": [reading.value or "no cache" for reading in found],
            f"{n}: skipped, last epoch (%)": [spread(share) for share in skipped],
            "This run: change of that share (points)": ["–", *map(difference, skipped[1:], others)],
            "This run: test accuracy (%)": [spread(_final(reading.runs)) for reading in found],
        }
    )


def _final(runs: list[caching.Run]) -> list[float]:
    return [run.test_accuracy for run in runs]


def _mean_skipped(runs: list[caching.Run]) -> list[float]:
    """Mean over the epochs of the share skipped, in percent, by seed."""
    return [fmean(100 * e.skipped / e.seen for e in run.history.epochs) for run in runs]


def recorded_threshold(recorded: pd.DataFrame) -> pd.DataFrame:
    """The cache at full size with its threshold and without: images skipped in the last epoch."""
    rows = []
    for size in sorted(recorded[recorded["condition"] == "nearest"]["batch_size"].unique()):
        caches = ("cached", "nearest")
        shares = [evidence.final(recorded, size, cache, "share") for cache in caches]
        more = evidence.differences(shares[1], shares[0])
        gain = evidence.final_differences(recorded, size, "nearest", "cached")
        pairs = [{seed: share[seed] for seed in more} for share in shares]
        row = {"Batch size": str(size), "n": seed_counts([more])}
        row["Recorded: skipped (%)"], row["without a threshold (%)"] = map(interval, pairs)
        row["change of that share (points)"] = interval(more, sign="+")
        rows.append(row | {"change of test accuracy (points)": interval(gain, sign="+")})
    return pd.DataFrame(rows)


def missing_class(found: list[caching.MissingClass]) -> pd.DataFrame:
    """Probability in percent that an epoch's first batch misses a class."""
    columns: dict[str, Callable[[caching.MissingClass], str]] = {
        "Batch size": lambda row: str(row.batch_size),
        "Authors' log: epochs without a hit": lambda row: _log_epochs_without_hit(row.batch_size),
        "This run: exact (%)": lambda row: f"{100 * row.exact:.3g}",
        "This run: simulated (%)": lambda row: f"{100 * row.simulated:.2f} ({row.draws:,} draws)",
    }
    return frame(found, columns)


def missing_class_effect(found: list[Reading]) -> pd.DataFrame:
    """What a missing class does: epochs without a hit, images skipped, accuracy in percent."""
    names = {"": "no cache", "released": "as released", "ignore": "missing class ignored"}
    n = this_run(len(found[0].runs))
    columns: dict[str, Callable[[Reading], str]] = {
        "Cache": lambda reading: names[reading.value],
        f"{n}: epochs without a hit": lambda reading: _epochs_without_hit(reading.runs),
        "This run: skipped (%)": lambda reading: spread(_mean_skipped(reading.runs)),
        "This run: test accuracy (%)": lambda reading: spread(_final(reading.runs)),
    }
    return frame(found, columns)


def input_scales(found: list[caching.Scaled]) -> pd.DataFrame:
    """Fig. 7 in small, by input scale: accuracies and images skipped in percent."""
    n = this_run(len(found[0].plain))
    columns: dict[str, Callable[[caching.Scaled], str]] = {
        "Input scale": lambda s: s.input_scale,
        f"{n}: plain": lambda s: spread(_final(s.plain)),
        "This run: cached": lambda s: spread(_final(s.cached)),
        "This run: cached − plain (points)": (
            lambda s: difference(_final(s.cached), _final(s.plain))
        ),
        "This run: skipped (%)": lambda s: spread(_mean_skipped(s.cached)),
    }
    return frame(found, columns)


EXITS = {
    "hits": "leave (%)",
    "precision": "precision (%)",
    "network_on_hits": "network on the same (%)",
    "accuracy": "accuracy (%)",
    "network": "without exits (%)",
    "nearest": "all by nearest class (%)",
    "saved": "multiply-adds saved (%)",
}


def exits(found: list[list[caching.ExitLayer]], timed: bool = False) -> pd.DataFrame:
    """Leaving a trained network at a layer: rates and accuracies in percent, or times."""
    columns = {"time": "seconds, ratio to no exits"} if timed else EXITS
    return pd.DataFrame(
        {"Layer": rows[0].layer}
        | {h: spread([getattr(r, k) for r in rows], 1 + timed) for k, h in columns.items()}
        for rows in zip(*found, strict=True)
    )


def caching_summary(
    runs: list[Comparison], sweep: list[Comparison], recorded: pd.DataFrame
) -> pd.DataFrame:
    """What chapter 02 comes to: final accuracies, paired differences, share skipped."""
    n, paired = f", n = {len(runs)}", "(points, paired by seed)"
    printed, hits = published.FIG7.iloc[-1], published.FIG7["hits"].mean()
    logged = published.authors_final().loc[4096]["final_test"]
    final = {c: _final([getattr(run, c) for run in runs]) for c in CONDITIONS}
    gain, logged_gain = (known["cached"] - known["plain"] for known in (printed, logged))
    rows = []
    for c, name in CONDITION_NAMES.items():
        known = number(printed.get(c), ".1f"), number(logged.get(c), ".2f")
        quantity = f"Fig. 7, final test accuracy (%): {name}"
        rows.append(
            (quantity, *known, stated(evidence.final(recorded, 4096, c)), spread(final[c]) + n)
        )
    others: dict[Condition, tuple[str, str]] = {
        "plain": (number(gain, "+.1f"), number(logged_gain, "+.2f")),
        "random": ("–", "–"),
    }
    for other, known in others.items():
        full = stated(evidence.final_differences(recorded, 4096, "cached", other), sign="+")
        ours = difference(final["cached"], final[other]) + n
        rows.append((f"cached − {CONDITION_NAMES[other]} {paired}", *known, full, ours))
    known, full = (f"{100 * hits / 60_000:.1f}", "–"), stated(_mean_share(recorded))
    ours = spread(_mean_skipped([run.cached for run in runs])) + n
    rows.append(("images skipped (% of an epoch, mean)", *known, full, ours))
    wins = _wins(published.FIG8["cached_test"], published.FIG8["plain_test"])
    ours = _wins(_final([run.cached for run in sweep]), _final([run.plain for run in sweep]))
    quantity = "Fig. 8, runs in which cached reaches plain test accuracy"
    rows.append((quantity, wins, "–", _recorded_wins(recorded), ours))
    return summary(rows)


def _mean_share(recorded: pd.DataFrame) -> dict[int, float | None]:
    """Mean over the epochs of the share skipped at batch 4096, in percent, by seed."""
    shares = _epochs(recorded, "cached", "share")
    seeds = {seed: [epoch[seed] for epoch in shares] for seed in shares[1]}
    return {seed: None if None in known else fmean(known) for seed, known in seeds.items()}


def _recorded_wins(recorded: pd.DataFrame) -> str:
    """In how many recorded pairs, over all batch sizes, cached reaches plain test accuracy."""
    gains = [
        gain
        for size in published.FIG8.index
        for gain in evidence.final_differences(recorded, size, "cached", "plain").values()
        if gain is not None
    ]
    return f"{sum(gain >= 0 for gain in gains)} of {len(gains)}" if gains else "–"


def _wins(values: Iterable[float], reference: Iterable[float]) -> str:
    wins = [a >= b for a, b in zip(values, reference, strict=True)]
    return f"{sum(wins)} of {len(wins)}"
