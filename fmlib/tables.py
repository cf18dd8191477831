"""Numbers as tables: Published, Authors' log, Recorded and This run side by side.

Every function returns a pandas DataFrame of text; `show` displays one as a numbered,
captioned table of the book.  A live number over several seeds reads "mean (lowest-highest)", a
recorded one "mean (low to high)", its 95 % interval; the number of seeds stands in the heading,
or in a column where rows differ.  Tables of recorded runs alone have `recorded` in their names.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import product
from operator import truediv
from statistics import fmean, median
from typing import Any, Literal, get_args

import pandas as pd
from IPython.display import Markdown, display
from torch import Tensor

from fmlib import evidence, models, published, stats
from fmlib.data import Dataset
from fmlib.experiments import adversarial_robustness as adversarial
from fmlib.experiments import caching, exploration
from fmlib.experiments import feature_map_regularization as regularization
from fmlib.experiments.adversarial_robustness import (
    FGSM_ON,
    PGD_ON,
    TWIN_NAMES,
    VICTIMS,
    Perturbation,
    Robustness,
    Victim,
)
from fmlib.experiments.caching import CONDITION_NAMES, CONDITIONS, Comparison, Condition, Reading
from fmlib.experiments.exploration import NETWORKS, SPLITS, OutlierRun
from fmlib.experiments.feature_map_regularization import MODEL_NAMES, Row, Trial, by_row
from fmlib.map_images import WAYS

KNOWN: tuple[Condition, ...] = ("plain", "cached")
"""Conditions that the paper and the log have."""
VICTIM_NAMES: dict[Victim, str] = {
    **{model: MODEL_NAMES[model] for model in VICTIMS},
    **TWIN_NAMES,
}
"""Models that perturbations are tried on; the twins, base models of other seeds, are recorded."""
EPSILONS = (0.05, 0.15, 0.25)
"""Largest changes of a pixel in the recorded runs."""
SETS = ("originals", "maps before", "maps after", "absolute maps before", "maps before / 255")
"""Images of the study of undefined losses; the last two with ReLU alone."""
PERTURBATION_NAMES: dict[Perturbation, str] = {
    "unchanged": "unchanged",
    "released": "as released",
    "sign noise": "random sign noise",
    "fgsm on base": "FGSM by base model",
    "fgsm on maps": "FGSM by map model",
    "fgsm on originals": "FGSM by control",
    "own fgsm": "FGSM, each by its own gradient",
    "own pgd": "PGD, one path, each by its own gradient",
    "own restarts": "PGD with restarts, each by its own gradient",
    "own squares": "Square Attack, each by its own outputs",
}
SIGNS_OF_MASKING: dict[adversarial.SignOfMasking, str] = {
    "iterated": "one path of PGD (a) is weaker than FGSM (b)",
    "transfer": "FGSM by itself (a) is weaker than FGSM by another model (b)",
    "gradient-free": "PGD with restarts (a) is weaker than the Square Attack (b)",
    "no gradient": "images without a gradient (a; b is none)",
    "eps 1": "FGSM at ε = 1 (a) leaves more than chance (b)",
    "eps 1 iterated": "PGD with restarts at ε = 1 (a) leaves more than chance (b)",
}


def show(table: pd.DataFrame, caption: str, name: str, wrap: bool = False) -> None:
    """Display a table with caption and label as Markdown of the book.

    The cell needs the metadata `mystnb: {markdown_format: myst}`.  `wrap` is for tables of
    sentences, whose cells may be broken into lines.
    """
    body = table.to_markdown(index=False, disable_numparse=True)
    options = f":name: {name}\n" + (":class: wrap\n" if wrap else "")
    display(Markdown(f":::{{table}} {caption}\n{options}\n{body}\n:::"))


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Mean and range of one value per seed; a single value stands alone, none is a dash."""
    known = list(values)
    if not known:
        return "–"
    mean = f"{fmean(known):,.{digits}f}"
    if len(known) == 1:
        return mean
    return f"{mean} ({min(known):,.{digits}f}–{max(known):,.{digits}f})"


def finished(values: Sequence[float | None], digits: int = 1) -> str:
    """As `spread`, over the runs that did not diverge (None), with the count of those that did."""
    known = [value for value in values if value is not None]
    return f"{spread(known, digits)}{_diverged(values)}"


def _diverged(values: Sequence[float | None]) -> str:
    """How many of the runs diverged (None), if any did."""
    count = sum(value is None for value in values)
    return f" {count} of {len(values)} diverged" if count else ""


Outcomes = Mapping[int, float | None]
"""A recorded number by seed; None where the training diverged."""


def interval(outcomes: Outcomes, digits: int = 1, sign: str = "") -> str:
    """Mean and 95 % bootstrap interval over the recorded runs; those that diverged are counted.

    A single value stands alone, none is a dash; `sign` is "+" for differences.
    """
    values = list(outcomes.values())
    known, form = [value for value in values if value is not None], f"{sign},.{digits}f"
    if not known:
        return f"–{_diverged(values)}"
    # Rounded twice, since the last bit of a mean may differ between processors.
    mean, low, high, *_ = (format(round(x, 9), form) for x in stats.estimate(known))
    return (mean if len(known) == 1 else f"{mean} ({low} to {high})") + _diverged(values)


def recorded_in(outcomes: Outcomes) -> str:
    """Heading of a recorded column, with the number of seeds."""
    return f"Recorded, n = {len(outcomes)}"


def _seeds(outcomes: Iterable[Outcomes]) -> str:
    """Numbers of seeds of a row's columns, one if they agree."""
    counts = [str(len(one)) for one in outcomes]
    return ", ".join(counts if len(set(counts)) > 1 else counts[:1])


def _stated(outcomes: Outcomes, digits: int = 1, sign: str = "") -> str:
    """As `interval`, with the number of seeds beside it."""
    text = interval(outcomes, digits, sign)
    return f"{text}, n = {len(outcomes)}" if outcomes else text


def difference(values: Sequence[float | None], reference: Sequence[float | None]) -> str:
    """Mean and range of paired differences with their sign; pairs that diverged are counted."""
    pairs = list(zip(values, reference, strict=True))
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    diverged = len(pairs) - len(differences)
    note = f" ({diverged} of {len(pairs)} diverged)" if diverged else ""
    if not differences:
        return f"–{note}"
    mean = f"{fmean(differences):+.1f}"
    if len(differences) > 1:
        mean += f" ({min(differences):+.1f} to {max(differences):+.1f})"
    return mean + note


def _number(value: float | None, form: str) -> str:
    """One number, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def this_run(n: int) -> str:
    """Heading of the columns that were computed live, with the number of seeds."""
    return f"This run, n = {n}"


def _frame(items: Iterable[Any], columns: Mapping[str, Callable[[Any], str]]) -> pd.DataFrame:
    """One row per item, one column per heading with what its function says of the item."""
    return pd.DataFrame([{head: say(item) for head, say in columns.items()} for item in items])


def summary(rows: Sequence[tuple[str, str, str, str, str]]) -> pd.DataFrame:
    """What a chapter comes to: quantity, published, authors' log, recorded, this run."""
    columns = ["Quantity", "Published", "Authors' log", "Recorded", "This run"]
    return pd.DataFrame(rows, columns=columns)


def class_sizes(dataset: Dataset) -> pd.DataFrame:
    """Classes with their names and numbers of images."""
    train, test = (
        [f"{count:,}" for count in labels.bincount(minlength=dataset.n_classes).tolist()]
        for labels in (dataset.train_labels, dataset.test_labels)
    )
    named = {"Class": map(str, range(len(train))), "Name": map(_plain, dataset.class_names)}
    return pd.DataFrame(named | {"Training images": train, "Test images": test})


def source(dataset: Dataset) -> str:
    """Name and origin of a dataset, for a caption."""
    return _plain(f"{dataset.name} ({dataset.origin})")


def _plain(text: str) -> str:
    """Text from outside, such as a folder's name, with nothing that Markdown would interpret."""
    return "".join(c if c.isalnum() or c in " -,/'()" else f"&#{ord(c)};" for c in text)


def outlier_distances(found: exploration.Distances, dataset: Dataset) -> pd.DataFrame:
    """Fig. 2: distances to the centroid within a class, and those of its farthest images."""
    rows = []
    for label, positions in found.outliers.items():
        own = found.distances[dataset.train_labels == label]
        farthest = ", ".join(f"{d:.3f}" for d in found.distances[positions].tolist())
        name = _plain(dataset.class_names[label])
        rows.append((name, f"{own.median():.3f}", f"{own.quantile(0.95):.3f}", farthest))
    return pd.DataFrame(rows, columns=["Class", "Median", "95 % quantile", "Farthest images"])


def separation(pca: float, pixels: float, chance: float, recorded: pd.DataFrame) -> pd.DataFrame:
    """How often neighbours name a point's class, by the space in which they are sought."""
    names = ["always the most frequent class", "PCA, 2 coordinates", "t-SNE, 2 coordinates"]
    known = [_looks(recorded, name) for name in ("none", "PCA", "t-SNE", "none")]
    accuracies = [_number(accuracy, ".1f") for accuracy in (chance, pca, None, pixels)]
    return pd.DataFrame(
        {
            "Neighbours in": [*names, "all pixels"],
            f"{recorded_in(known[1])}: accuracy (%)": map(interval, known),
            "This run: accuracy (%)": accuracies,
        }
    )


def _looks(recorded: pd.DataFrame, quantity: str) -> dict[int, float | None]:
    return evidence.outcomes(recorded[recorded["quantity"] == quantity], "value")


def errors_by_decile(runs: list[OutlierRun]) -> pd.DataFrame:
    """Wrong answers by decile of distance among training and test images, their trend below."""
    rows = []
    for decile, n in enumerate(runs[0].errors["test"].counts):
        train, test = ([r.errors[split].rates[decile] for r in runs] for split in SPLITS)
        counts = spread([run.errors["train"].counts[decile] for run in runs], 0)
        gap = difference(test, train)
        rows.append((str(decile + 1), counts, spread(train), f"{n:,}", spread(test), gap))
    rows.append(("rank correlation", "", _trend(runs, "train"), "", _trend(runs, "test"), ""))
    headings = ["Decile", "Training images", f"{this_run(len(runs))}: training, wrong (%)"]
    headings += ["Test images", "This run: test, wrong (%)", "This run: test − training (points)"]
    return pd.DataFrame(rows, columns=headings)


def _trend(runs: list[OutlierRun], split: exploration.Split) -> str:
    return spread([run.errors[split].trend for run in runs], 2)


def left_out(runs: list[OutlierRun], recorded: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in percent on each group of images without the outliers in training, and with."""
    rows = []
    for name, group in runs[0].groups.items():
        without, control = ([r.groups[name].accuracy[n] for r in runs] for n in NETWORKS)
        known = [_looks(recorded, f"{name}: {network}") for network in NETWORKS]
        gain = interval(evidence.differences(known[1], known[0]), sign="+")
        rows += [
            (name, f"{group.n:,}", "without outliers", interval(known[0]), spread(without)),
            ("", "", "control", interval(known[1]), spread(control)),
            ("", "", "control − without (points)", gain, difference(control, without)),
        ]
    headings = ["Group", "This run: images", "Trained", recorded_in(known[0])]
    return pd.DataFrame(rows, columns=[*headings, this_run(len(runs))])


def exploration_summary(runs: list[OutlierRun], recorded: pd.DataFrame) -> pd.DataFrame:
    """What chapter 01 comes to: trend of errors, and what training on the outliers brings."""
    rows = []
    for split, images in zip(SPLITS, ("training", "test"), strict=True):
        name = f"rank correlation of error rate and decile of distance: {images}"
        rows.append((name, _stated(_looks(recorded, f"trend {split}"), 2), _trend(runs, split)))
    for position, name in enumerate(runs[0].groups):
        without, control = ([r.groups[name].accuracy[n] for r in runs] for n in NETWORKS)
        known = [_looks(recorded, f"{name}: {network}") for network in NETWORKS]
        if position == 0:
            quantity = "outliers never trained on, accuracy (%)"
            rows.append((quantity, _stated(known[0]), spread(without)))
        gain = _stated(evidence.differences(known[1], known[0]), sign="+")
        name = f"accuracy on {name}: with − without outliers in training (points)"
        rows.append((name, gain, difference(control, without)))
    n = f", n = {len(runs)}"
    return summary([(name, "–", "–", known, ours + n) for name, known, ours in rows])


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
    """Fig. 7: range of plain training over seeds, and how many of them the published runs beat."""
    plain = _epochs(recorded, "plain")
    known = plain.map(lambda seeds: [value for value in seeds.values() if value is not None])
    ranges = known.map(lambda v: f"{min(v):.1f} to {max(v):.1f}" if v else "–")
    table = ranges.to_frame(f"{recorded_in(plain[1])}: plain, lowest to highest")
    for c in KNOWN:
        values = published.FIG7[c]
        table[f"Published: {c}"] = values.map("{:.1f}".format)
        table[f"Published {c} is above"] = [*map(_rank, values, known)]
    return table.rename_axis("Epoch").reset_index()


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


def caching_seconds(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 7: median seconds per epoch, and their ratio to plain training."""
    log = published.authors_log().query("batch_size == 4096")
    logged = log.groupby("training")["seconds"].median()
    ours = {
        c: [median(e.seconds for e in getattr(run, c).history.epochs) for run in runs]
        for c in CONDITIONS
    }
    columns: dict[str, Callable[[Condition], str]] = {
        "Training": lambda c: CONDITION_NAMES[c],
        "Authors' log: seconds": lambda c: _number(logged.get(c), ".1f"),
        "Authors' log: ratio": lambda c: _number((logged / logged["plain"]).get(c), ".2f"),
        f"{this_run(len(runs))}: seconds": lambda c: spread(ours[c], 2),
        "This run: ratio": lambda c: spread(map(truediv, ours[c], ours["plain"]), 2),
    }
    return _frame(CONDITIONS, columns)


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
        row["n"] = _seeds(known)
        names = CONDITION_NAMES.values()
        row |= {f"Recorded: {n}": interval(k) for n, k in zip(names, known, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def _fig8(size: int, condition: Condition, split: str) -> str:
    value = published.FIG8[f"{condition}_{split}"].get(size)
    return _number(value, ".3f" if value == 99.685 else ".2f")


def recorded_differences(recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 8 in full: differences of final test accuracy in points, paired by seed."""
    gain = published.FIG8["cached_test"] - published.FIG8["plain_test"]
    rows = []
    for size in published.FIG8.index:
        known = [evidence.final_differences(recorded, size, *pair) for pair in evidence.PAIRS]
        skipped = evidence.of_condition(recorded, size, "cached")["skipped"]
        row = {"Batch size": str(size), "Published: cached − plain": f"{gain[size]:+.2f}"}
        row["n"] = _seeds(known)
        for pair, differences in zip(evidence.PAIRS, known, strict=True):
            first, second = (CONDITION_NAMES[condition] for condition in pair)
            row[f"Recorded: {first} − {second}"] = interval(differences, sign="+")
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
    now_image = _listed(int(one.labels[_lowest(one).argmin()]) for one in live)
    now_own = _listed(int(one.labels[_own(one).argmin()]) for one in live)
    now_mean = _listed(int(one.own.nan_to_num(nan=1.0).argmin()) for one in live)
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
    return _listed(f"{label:.0f}" for label in evidence.outcomes(rows, column).values())


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


def _listed(values: Iterable[object]) -> str:
    """One value per seed, side by side; none is a dash."""
    return ", ".join(map(str, values)) or "–"


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
    for size in STAGE_SIZES:
        caches = ("cached", "nearest")
        shares = [evidence.final(recorded, size, cache, "share") for cache in caches]
        more = evidence.differences(shares[1], shares[0])
        gain = evidence.final_differences(recorded, size, "nearest", "cached")
        row = {"Batch size": str(size), "n": _seeds([*shares, more])}
        row["Recorded: skipped (%)"], row["without a threshold (%)"] = map(interval, shares)
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
    return _frame(found, columns)


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
    return _frame(found, columns)


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
    return _frame(found, columns)


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
        known = _number(printed.get(c), ".1f"), _number(logged.get(c), ".2f")
        quantity = f"Fig. 7, final test accuracy (%): {name}"
        rows.append(
            (quantity, *known, _stated(evidence.final(recorded, 4096, c)), spread(final[c]) + n)
        )
    others: dict[Condition, tuple[str, str]] = {
        "plain": (f"{gain:+.1f}", f"{logged_gain:+.2f}"),
        "random": ("–", "–"),
    }
    for other, known in others.items():
        full = _stated(evidence.final_differences(recorded, 4096, "cached", other), sign="+")
        ours = difference(final["cached"], final[other]) + n
        rows.append((f"cached − {CONDITION_NAMES[other]} {paired}", *known, full, ours))
    known, full = (f"{100 * hits / 60_000:.1f}", "–"), _stated(_mean_share(recorded))
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


def map_training(rows: list[Row]) -> pd.DataFrame:
    """Fig. 9: train and test accuracy in percent of base, map and control models."""
    table = []
    for runs, (model, name) in product(by_row(rows), MODEL_NAMES.items()):
        known = getattr(_fig9(runs[0]), model, None)
        ours = [run.finished(model) for run in runs]
        table.append(
            {
                "Row": _row_name(runs[0]) if model == "base" else "",
                "Model": name,
                "Published: train": _number(getattr(known, "train", None), ".2f"),
                "Published: test": _number(getattr(known, "test", None), ".2f"),
                f"{this_run(len(runs))}: train": finished(_part(ours, "train")),
                "This run: test": finished(_part(ours, "test")),
                "This run: train − test": finished(_part(ours, "gap")),
            }
        )
    return pd.DataFrame(table)


def recorded_map_training(recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 9 in full: test accuracy in percent of base, map and control model, and its gap."""
    table = []
    for known, model in product(published.FIG9, evidence.FURTHER):
        rows = evidence.of_model(recorded, known.dataset, known.batch_size, model)
        name = f"{known.dataset}, batch {known.batch_size}"
        row = {"Row": name if model == "base" else "", "Model": MODEL_NAMES[model]}
        parts: dict[Part, str] = {"test": "test", "gap": "train − test"}
        for part, heading in parts.items():
            value = getattr(getattr(known, model, None), part, None)
            row[f"Published: {heading}"] = _number(value, ".2f")
        row["n"] = str(rows["seed"].nunique())
        for part, heading in parts.items():
            row[f"Recorded: {heading}"] = interval(evidence.outcomes(rows, part))
        table.append(row)
    return pd.DataFrame(table)


def _fig9(row: Row) -> published.Fig9Row | None:
    """The published row in the same place, if it is of the same dataset."""
    known = published.FIG9[row.row : row.row + 1]
    return known[0] if known and known[0].dataset == row.dataset else None


def _row_name(row: Row) -> str:
    """Dataset and batch size of a row of Fig. 9, with the published one if it differs."""
    known = _fig9(row)
    batch = f"{_plain(row.dataset)}, batch {row.batch_size}"
    if known is None or known.batch_size == row.batch_size:
        return batch
    return f"{batch} (published: {known.batch_size})"


Part = Literal["train", "test", "gap"]


def _part(accuracies: Iterable[regularization.Accuracy | None], part: Part) -> list[float | None]:
    return [getattr(accuracy, part, None) for accuracy in accuracies]


def ways(runs: list[regularization.WayRun]) -> pd.DataFrame:
    """Test accuracy in percent after short training, by the way of making images of maps."""
    table = []
    absent = ("base", "on_maps"), ("originals", "on_maps"), ("channels", "on_originals")
    for way, after in dict.fromkeys((run.way, run.after) for run in runs):
        chosen = [run for run in runs if (run.way, run.after) == (way, after)]
        row = {"Trained on": {"base": "none: base model"}.get(way, way.replace("_", " "))}
        row["Activation"] = ("after" if after else "before") if way in WAYS else "–"
        for fresh, weights in enumerate(("Kept", "Fresh")):
            for on in ("on_originals", "on_maps"):
                values = [getattr(run, on) for run in chosen if run.fresh == fresh]
                cell = finished(values) if values and (way, on) not in absent else "–"
                row[f"{weights} weights: {on.replace('_', ' ')}"] = cell
        table.append(row)
    return pd.DataFrame(table)


def undefined_starts(trials: list[Trial]) -> pd.DataFrame:
    """Section 7.2: networks before their first step, a value per seed, a dash without a base."""
    rate = trials[0].learning_rate
    columns: dict[str, Callable[[Trial], str]] = {
        "Values below zero": lambda trial: _number(trial.negative_share, ".0%"),
        "Dead units": lambda trial: _number(trial.dead_share, ".0%"),
        "First loss": lambda trial: _number(trial.first_loss, ".3g"),
        "Norm of the gradient": lambda trial: _number(trial.gradient, ".3g"),
        f"First step at {rate:g} / weights": lambda trial: _number(trial.step, ".2g"),
    }
    return _by_seed([trial for trial in trials if trial.learning_rate == rate], columns)


def undefined_losses(trials: list[Trial]) -> pd.DataFrame:
    """Section 7.2: the loss after training, a value per seed, and units that are dead by then."""
    tables = []
    for rate in dict.fromkeys(trial.learning_rate for trial in trials):
        columns: dict[str, Callable[[Trial], str]] = {
            f"Last loss at {rate:g}": _end,
            f"Dead units at {rate:g}": lambda trial: _number(trial.dead_share_after, ".0%"),
        }
        tables.append(_by_seed([t for t in trials if t.learning_rate == rate], columns))
    return reduce(pd.merge, tables)


def _by_seed(trials: list[Trial], columns: dict[str, Callable[[Trial], str]]) -> pd.DataFrame:
    """A row per kind of trial, with the seeds' values side by side in each cell."""
    keys: dict[str, Callable[[Trial], str]] = {
        "Network": lambda trial: trial.activation,
        "Input": lambda trial: trial.input_scale,
        "Trained on": lambda trial: trial.images,
    }
    rows = _frame(trials, keys | columns)
    return rows.groupby([*keys], sort=False).agg(", ".join).reset_index()


def _end(trial: Trial) -> str:
    """Mean loss of the last epoch, or where the loss was no number: epoch and step."""
    end = trial.history.divergence if trial.history else None
    return f"{end.loss} ({end.epoch}:{end.step})" if end else _number(trial.last_loss, ".2g")


def recorded_undefined_losses(recorded: pd.DataFrame) -> pd.DataFrame:
    """Section 7.2 in full: runs whose loss ended undefined, by network, images, learning rate.

    With the share of them and its 95 % interval, in percent.
    """
    table = []
    for activation, images in product(get_args(models.Activation), SETS):
        if images in SETS[3:] and activation != "relu":
            continue
        rows = recorded[(recorded["activation"] == activation) & (recorded["images"] == images)]
        row = {"Network": activation, "Trained on": images}
        for rate in (0.01, 0.1):
            row[f"Recorded: undefined at {rate:g}"] = _undefined(rows, rate)
        lost = rows[rows["undefined"].isna()]["seed"].nunique()
        row["Recorded: base model undefined"] = f"{lost} of {rows['seed'].nunique()}"
        table.append(row if len(rows) else row | dict.fromkeys(list(row)[2:], "–"))
    return pd.DataFrame(table)


def _undefined(rows: pd.DataFrame, rate: float) -> str:
    ends = rows[rows["learning_rate"] == rate]["undefined"].dropna()
    if ends.empty:
        return "–"
    _, low, high, n, _ = stats.share(int(ends.sum()), len(ends))
    return f"{int(ends.sum())} of {n} ({100 * low:.0f} to {100 * high:.0f} %)"


def map_training_summary(rows: list[Row], recorded: pd.DataFrame) -> pd.DataFrame:
    """What chapter 03 comes to: change of test accuracy and of the train-test gap."""
    table = []
    references: tuple[regularization.Model, ...] = ("base", "originals")
    parts: dict[Part, str] = {"test": "test accuracy", "gap": "train − test gap"}
    for runs, model, part in product(by_row(rows), references, parts):
        known = _fig9(runs[0])
        maps, other = (_part([run.finished(m) for run in runs], part) for m in ("maps", model))
        pair = f"Fig. 9, {_row_name(runs[0])}: map model − {MODEL_NAMES[model]}"
        change = None
        if known and model == "base":
            change = getattr(known.maps, part) - getattr(known.base, part)
        full = _stated(_further(recorded, known, model, part), sign="+")
        ours = f"{difference(maps, other)}, n = {len(runs)}"
        name = f"{pair}, {parts[part]} (points)"
        table.append((name, _number(change, "+.2f"), "–", full, ours))
    return summary(table)


def _further(
    recorded: pd.DataFrame, row: published.Fig9Row | None, other: regularization.Model, part: Part
) -> Outcomes:
    """Recorded differences of the map model and another one in a published row of Fig. 9."""
    if row is None:
        return {}
    key = row.dataset, row.batch_size
    maps = evidence.outcomes(evidence.of_model(recorded, *key, "maps"), part)
    return evidence.differences(
        maps, evidence.outcomes(evidence.of_model(recorded, *key, other), part)
    )


def clean_accuracy(runs: list[Robustness], chance: float, recorded: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in percent of the models on unchanged images."""
    n, rows = this_run(len(runs)), []
    for model, name in VICTIM_NAMES.items():
        full = [evidence.judged(recorded, kind, 0.0, model) for kind in ("test", "unchanged")]
        row = {"Model": name, f"{recorded_in(full[0])}: test": interval(full[0])}
        row["Recorded: held-out"] = interval(full[1])
        for split in ("test", "held_out") if model in VICTIMS else ():
            ours = finished([run.clean_accuracy(split, model) for run in runs])
            row[f"{n}: test" if split == "test" else "This run: held-out"] = ours
        rows.append(row)
    guess = {"Model": "always the most frequent class", f"{n}: test": f"{chance:.1f}"}
    return pd.DataFrame([*rows, guess]).fillna("–")


def released_robustness(runs: list[Robustness], recorded: pd.DataFrame) -> pd.DataFrame:
    """Fig. 10: accuracy in percent on images perturbed as released, and after the clamp alone."""
    rows = []
    for eps, (model, name) in product(_epsilons(runs, "released"), VICTIM_NAMES.items()):
        full = evidence.judged(recorded, "released", eps, model)
        known = published.FIG10[model].get(eps) if model in published.FIG10 else None
        live = model in VICTIMS
        ours = [run.accuracy("released", eps, model) for run in runs if live]
        heading = f"{eps:g}" + (" (clamp alone)" if eps == 0 else "")
        rows.append(
            (
                heading if model == "base" else "",
                name,
                _number(known, ".2f"),
                interval(full),
                finished(ours),
            )
        )
    columns = ["ε", "Model", "Published", recorded_in(full), this_run(len(runs))]
    return pd.DataFrame(rows, columns=columns)


def attacks(runs: list[Robustness]) -> pd.DataFrame:
    """Accuracy in percent under one proper step on [0, 1], by whose gradient it uses."""
    return _perturbed(runs, ["sign noise", *(FGSM_ON[model] for model in VICTIMS)])


def recorded_attacks(recorded: pd.DataFrame, kind: Literal["FGSM", "PGD"]) -> pd.DataFrame:
    """Accuracy in percent of every model on images perturbed by every model's gradient.

    A dagger marks the models that are attacked by their own.
    """
    sources: dict[str, str] = {"sign noise": "random sign noise"} if kind == "FGSM" else {}
    by = FGSM_ON if kind == "FGSM" else PGD_ON
    sources |= {by[source]: f"{kind} by {name}" for source, name in VICTIM_NAMES.items()}
    table = []
    for (perturbation, name), eps in product(sources.items(), EPSILONS):
        row = {"Perturbation": name if eps == EPSILONS[0] else "", "ε": f"{eps:g}"}
        for model, judged in VICTIM_NAMES.items():
            full = evidence.judged(recorded, perturbation, eps, model)
            mark = " †" if perturbation == by[model] and full else ""
            row[f"{recorded_in(full)}: {judged}"] = interval(full, digits=0) + mark
        table.append(row)
    return pd.DataFrame(table)


def own_attacks(runs: list[Robustness]) -> pd.DataFrame:
    """Accuracy in percent of each model under attacks on itself, on the same images."""
    return _perturbed(runs, get_args(adversarial.Own))


def _perturbed(runs: list[Robustness], perturbations: Iterable[Perturbation]) -> pd.DataFrame:
    return pd.DataFrame(
        {"Perturbation": PERTURBATION_NAMES[perturbation], "ε": f"{eps:g}"}
        | _victims(runs, perturbation, eps)
        for perturbation, eps in product(perturbations, _epsilons(runs, "own fgsm"))
    )


def _epsilons(runs: list[Robustness], perturbation: Perturbation) -> list[float]:
    return sorted({o.eps for run in runs for o in run.outcomes if o.perturbation == perturbation})


def _victims(runs: list[Robustness], perturbation: Perturbation, eps: float) -> dict[str, str]:
    """One column per model; of shared images, those by a model's own gradient are marked."""
    cells = {}
    for model in VICTIMS:
        cell = finished([run.accuracy(perturbation, eps, model) for run in runs])
        mark = " white-box" if perturbation == FGSM_ON[model] else ""
        cells[f"{this_run(len(runs))}: {MODEL_NAMES[model]}"] = cell + mark
    return cells


def masking(runs: list[Robustness], eps: float) -> pd.DataFrame:
    """Signs that gradients are hidden, by model: numbers in percent, and in how many seeds."""
    table = []
    for (sign, name), model in product(SIGNS_OF_MASKING.items(), VICTIMS):
        pairs = [found[sign] for run in runs if (found := run.masking(model, eps))]
        seen = sum(a > b for a, b in pairs)
        table.append(
            {
                "Sign of masking": name,
                "Model": MODEL_NAMES[model],
                f"{this_run(len(runs))}: a (%)": spread(a for a, _ in pairs),
                "This run: b (%)": spread(b for _, b in pairs),
                "Seen": f"yes, {seen} of {len(pairs)}" if seen else "no" if pairs else "–",
            }
        )
    return pd.DataFrame(table)


def paired_images(runs: list[Robustness]) -> pd.DataFrame:
    """Images that only one of two models gets right, seed by seed, with McNemar's exact p."""
    table = []
    for perturbation, name in PERTURBATION_NAMES.items():
        shown = {0.0, *_epsilons(runs, "own fgsm")} & {*_epsilons(runs, perturbation)}
        for eps in sorted(shown):
            found = [r.outcome(perturbation, eps) for r in runs if not r.maps_divergence]
            p = [stats.mcnemar(o.only_base, o.only_maps) for o in found]
            table.append(
                {
                    "Perturbation": name,
                    "ε": f"{eps:g}",
                    "Images": _listed(sorted({f"{o.n:,}" for o in found})),
                    "Only base right": _listed(o.only_base for o in found),
                    "Only maps right": _listed(o.only_maps for o in found),
                    "p": _listed("<0.001" if x < 0.001 else f"{x:.3f}" for x in p),
                }
            )
    return pd.DataFrame(table)


def robustness_summary(runs: list[Robustness], recorded: pd.DataFrame) -> pd.DataFrame:
    """What chapter 04 comes to: map model minus base model by perturbation."""
    rows = []
    shown: list[Perturbation] = ["released", "fgsm on base", "fgsm on maps", "own restarts"]
    for kind in shown:
        released = kind == "released"
        for eps in _epsilons(runs, "released" if released else "own fgsm"):
            detail = "clamp alone" if eps == 0 else f"ε = {eps:g}"
            quantity = f"Fig. 10, {PERTURBATION_NAMES[kind]}, {detail}: map − base model (points)"
            known = (published.FIG10["maps"] - published.FIG10["base"]).get(eps)
            maps, base = ([run.accuracy(kind, eps, m) for run in runs] for m in ("maps", "base"))
            full = [
                evidence.judged(
                    recorded, PGD_ON[model] if kind == "own restarts" else kind, eps, model
                )
                for model in ("maps", "base")
            ]
            change = _stated(evidence.differences(*full), sign="+")
            ours = f"{difference(maps, base)}, n = {len(runs)}"
            rows.append((quantity, _number(known if released else None, "+.2f"), "–", change, ours))
    return summary(rows)
