"""Numbers as tables: Published, Authors' log and This run side by side.

Every function returns a pandas DataFrame of text; `show` displays one as a numbered,
captioned table of the book.  A number over several seeds reads "mean (lowest-highest)"; the
columns of This run say over how many.  Recorded results will stand between the two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import product
from statistics import fmean, median
from typing import Any, Literal

import pandas as pd
from IPython.display import Markdown, display
from torch import Tensor

from fmlib import published, stats
from fmlib.data import Dataset
from fmlib.experiments.adversarial_robustness import (
    FGSM_ON,
    VICTIMS,
    Perturbation,
    Robustness,
    SignOfMasking,
)
from fmlib.experiments.caching import (
    CONDITIONS,
    Comparison,
    Condition,
    ExitLayer,
    MissingClass,
    Reading,
    Run,
    Scaled,
    Stage,
    Stages,
)
from fmlib.experiments.exploration import NETWORKS, SPLITS, Distances, OutlierRun, Split
from fmlib.experiments.feature_map_regularization import (
    MODELS,
    Accuracy,
    Model,
    Row,
    Trial,
    WayRun,
    by_row,
)
from fmlib.map_images import WAYS

CONDITION_NAMES: dict[Condition, str] = {
    "plain": "plain",
    "cached": "cached",
    "random": "random skipping",
}
MODEL_NAMES: dict[Model, str] = {
    "base": "base model",
    "maps": "map model",
    "originals": "control: originals",
    "blurred": "control: blurred originals",
    "untrained": "control: untrained maps",
}
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
SIGNS_OF_MASKING: dict[SignOfMasking, str] = {
    "iterated": "one path of PGD (a) is weaker than FGSM (b)",
    "transfer": "FGSM by itself (a) is weaker than FGSM by another model (b)",
    "gradient-free": "PGD with restarts (a) is weaker than the Square Attack (b)",
    "no gradient": "images without a gradient (a; b is none)",
    "eps 1": "FGSM at ε = 1 (a) leaves more than chance (b)",
    "eps 1 iterated": "PGD with restarts at ε = 1 (a) leaves more than chance (b)",
}


def show(table: pd.DataFrame, caption: str, name: str) -> None:
    """Display a table with caption and label as Markdown of the book.

    The cell needs the metadata `mystnb: {markdown_format: myst}`.
    """
    body = table.to_markdown(index=False, disable_numparse=True)
    display(Markdown(f":::{{table}} {caption}\n:name: {name}\n\n{body}\n:::"))


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and range of one value per seed; a single value stands alone, none is a dash."""
    if not values:
        return "–"
    mean = f"{fmean(values):,.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def finished(values: Sequence[float | None], digits: int = 1) -> str:
    """As `spread`, over the runs that did not diverge (None), with the count of those that did."""
    known = [value for value in values if value is not None]
    diverged = len(values) - len(known)
    note = f" {diverged} of {len(values)} diverged" if diverged else ""
    return f"{spread(known, digits)}{note}"


def this_run(n: int) -> str:
    """Heading of the columns that were computed live, with the number of seeds."""
    return f"This run, n = {n}"


def class_sizes(dataset: Dataset) -> pd.DataFrame:
    """Classes with their names and numbers of images."""
    sizes = [
        labels.bincount(minlength=dataset.n_classes).tolist()
        for labels in (dataset.train_labels, dataset.test_labels)
    ]
    rows = zip(dataset.class_names, *sizes, strict=True)
    return pd.DataFrame(
        [(str(i), _plain(name), f"{a:,}", f"{b:,}") for i, (name, a, b) in enumerate(rows)],
        columns=["Class", "Name", "Training images", "Test images"],
    )


def source(dataset: Dataset) -> str:
    """Name and origin of a dataset, for a caption."""
    return _plain(f"{dataset.name} ({dataset.origin})")


def _plain(text: str) -> str:
    """Text from outside, such as a folder's name, with nothing that Markdown would interpret."""
    return "".join(c if c.isalnum() or c in " -,/'()" else f"&#{ord(c)};" for c in text)


def outlier_distances(found: Distances, dataset: Dataset) -> pd.DataFrame:
    """Fig. 2: distances to the centroid within a class, and those of its farthest images."""
    rows = []
    for label, positions in found.outliers.items():
        own = found.distances[dataset.train_labels == label]
        farthest = ", ".join(f"{d:.3f}" for d in found.distances[positions].tolist())
        name = _plain(dataset.class_names[label])
        rows.append((name, f"{own.median():.3f}", f"{own.quantile(0.95):.3f}", farthest))
    return pd.DataFrame(rows, columns=["Class", "Median", "95 % quantile", "Farthest images"])


def separation(pca: float, pixels: float, chance: float) -> pd.DataFrame:
    """How often neighbours name a point's class, by the space in which they are sought."""
    names = ["always the most frequent class", "PCA, 2 coordinates", "all pixels"]
    accuracies = [f"{accuracy:.1f}" for accuracy in (chance, pca, pixels)]
    return pd.DataFrame({"Neighbours in": names, "This run: accuracy (%)": accuracies})


def errors_by_decile(runs: list[OutlierRun]) -> pd.DataFrame:
    """Wrong answers by decile of distance among training and test images, their trend below."""
    rows = []
    for decile, n in enumerate(runs[0].errors["test"].counts):
        train, test = ([run.errors[split].rates[decile] for run in runs] for split in SPLITS)
        counts = spread([run.errors["train"].counts[decile] for run in runs], 0)
        gap = difference(test, train)
        rows.append((str(decile + 1), counts, spread(train), f"{n:,}", spread(test), gap))
    rows.append(("rank correlation", "", _trend(runs, "train"), "", _trend(runs, "test"), ""))
    headings = ["Decile", "Training images", f"{this_run(len(runs))}: training, wrong (%)"]
    headings += ["Test images", "This run: test, wrong (%)", "This run: test − training (points)"]
    return pd.DataFrame(rows, columns=headings)


def _trend(runs: list[OutlierRun], split: Split) -> str:
    return spread([run.errors[split].trend for run in runs], 2)


def left_out(runs: list[OutlierRun]) -> pd.DataFrame:
    """Accuracy in percent on each group of images without the outliers in training, and with."""
    rows = []
    for name, group in runs[0].groups.items():
        without, control = ([r.groups[name].accuracy[n] for r in runs] for n in NETWORKS)
        gain = difference(control, without)
        rows.append((name, f"{group.n:,}", spread(without), spread(control), gain))
    headings = ["Group", "Images", f"{this_run(len(runs))}: without outliers"]
    headings += ["This run: control", "This run: control − without outliers (points)"]
    return pd.DataFrame(rows, columns=headings)


def exploration_summary(runs: list[OutlierRun]) -> pd.DataFrame:
    """What chapter 01 comes to: trend of errors, and what training on the outliers brings."""
    groups = left_out(runs)
    values = {
        "rank correlation of error rate and decile of distance: training": _trend(runs, "train"),
        "rank correlation of error rate and decile of distance: test": _trend(runs, "test"),
        "outliers never trained on, accuracy (%)": str(groups.iloc[0, 2]),
    }
    for name, gain in zip(groups["Group"], groups.iloc[:, -1], strict=True):
        values[f"accuracy on {name}: with − without outliers in training (points)"] = gain
    return summary([(key, "–", "–", f"{v}, n = {len(runs)}") for key, v in values.items()])


def _at(values: Sequence[float], index: int, digits: int = 1) -> str:
    return f"{values[index]:,.{digits}f}" if index < len(values) else "–"


def _frame(items: Iterable[Any], columns: Mapping[str, Callable[[Any], str]]) -> pd.DataFrame:
    """One row per item, one column per heading with what its function says of the item."""
    return pd.DataFrame([{head: say(item) for head, say in columns.items()} for item in items])


def caching_accuracy(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 7: test accuracy in percent after every epoch, plain, cached and random."""

    def ours(condition: Condition) -> Callable[[int], str]:
        return lambda epoch: spread([e.test_accuracy for e in _epochs(runs, condition, epoch)])

    return _frame(
        range(max(len(run.plain.history.epochs) for run in runs)),
        {
            "Epoch": lambda epoch: str(epoch + 1),
            "Published: plain": lambda epoch: _at(published.FIG7.plain_accuracy, epoch),
            "Published: cached": lambda epoch: _at(published.FIG7.cached_accuracy, epoch),
        }
        | {f"{this_run(len(runs))}: {CONDITION_NAMES[c]}": ours(c) for c in CONDITIONS},
    )


def _epochs(runs: list[Comparison], condition: Condition, epoch: int) -> list[Any]:
    """An epoch of each seed; runs that ended before it are left out."""
    histories = [getattr(run, condition).history.epochs for run in runs]
    return [epochs[epoch] for epochs in histories if epoch < len(epochs)]


def caching_hits(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 7: images skipped in every epoch, as a share, and images trained on."""
    hits = [100 * h / 60_000 for h in published.FIG7.hits]
    columns: dict[str, Callable[[int], str]] = {
        "Epoch": lambda i: str(i + 1),
        "Published: skipped (%)": lambda i: _at(hits, i),
        "Published: trained": lambda i: _at(published.FIG7.trained, i, 0),
        f"{this_run(len(runs))}: skipped (%)": lambda i: spread(
            [100 * e.skipped / e.seen for e in _epochs(runs, "cached", i)]
        ),
        "This run: trained": lambda i: spread([e.trained for e in _epochs(runs, "cached", i)], 0),
        "This run: random, trained": lambda i: spread(
            [e.trained for e in _epochs(runs, "random", i)], 0
        ),
    }
    return _frame(range(max(len(run.cached.history.epochs) for run in runs)), columns)


def caching_seconds(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 7: median seconds per epoch, and their ratio to plain training."""
    log = {
        c: median(
            e.seconds for e in published.authors_log() if (e.batch_size, e.training) == (4096, c)
        )
        for c in ("plain", "cached")
    }
    ours = {
        c: [median(e.seconds for e in getattr(run, c).history.epochs) for run in runs]
        for c in CONDITIONS
    }
    columns: dict[str, Callable[[Condition], str]] = {
        "Training": lambda c: CONDITION_NAMES[c],
        "Authors' log: seconds": lambda c: f"{log[c]:.1f}" if c in log else "–",
        "Authors' log: ratio": lambda c: f"{log[c] / log['plain']:.2f}" if c in log else "–",
        f"{this_run(len(runs))}: seconds": lambda c: spread(ours[c], 2),
        "This run: ratio": lambda c: spread(
            [a / b for a, b in zip(ours[c], ours["plain"], strict=True)], 2
        ),
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
        for known in ("plain", "cached"):
            row[f"Published: {known}"] = _published_fig8(size, known, split)
        row["Authors' log: epochs without a hit"] = _log_epochs_without_hit(size)
        for c in CONDITIONS:
            ours = [getattr(getattr(run, c), f"{split}_accuracy") for run in chosen]
            row[f"{this_run(len(chosen))}: {CONDITION_NAMES[c]}"] = spread(ours)
        row["This run: epochs without a hit"] = _epochs_without_hit([r.cached for r in chosen])
        rows.append(row)
    return pd.DataFrame(rows)


def _published_fig8(size: int, condition: str, split: str) -> str:
    if size not in published.FIG8.batch_sizes:
        return "–"
    values = getattr(published.FIG8, f"{condition}_{split}")
    value = values[published.FIG8.batch_sizes.index(size)]
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def _log_epochs_without_hit(size: int) -> str:
    log = published.authors_log()
    hits = [e.hits for e in log if (e.batch_size, e.training) == (size, "cached")]
    return f"{hits.count(0)} of {len(hits)}" if hits else "–"


def _epochs_without_hit(runs: list[Run]) -> str:
    """By seed."""
    histories = [run.history.epochs for run in runs]
    return ", ".join(f"{sum(e.skipped == 0 for e in h)} of {len(h)}" for h in histories)


def similarity_stages(found: list[Stages]) -> pd.DataFrame:
    """Fig. 5 and 6: how similar ten images are to ten cached vectors, early and late."""
    n = f", n = {len(found)}"
    early, late = [f.early for f in found], [f.late for f in found]
    stages = (
        ("early (Fig. 5)", early, published.FIG5, "1"),
        ("late (Fig. 6)", late, published.FIG6, "–"),
    )
    rows = []
    for name, seeds, known, _ in stages:
        lowest = spread([_lowest(stage).min().item() for stage in seeds], 3)
        rows.append((f"lowest similarity, {name}", f"{known.lowest:.3f}", lowest + n))
    for name, seeds, known, _ in stages:
        classes = [int(stage.labels[_lowest(stage).argmin()]) for stage in seeds]
        rows.append((f"class of that image, {name}", str(known.image), _listed(classes) + n))
    for name, seeds, _, own in stages:
        classes = [int(stage.own.nan_to_num(nan=1.0).argmin()) for stage in seeds]
        quantity = f"class least similar to its own vector, all test images, {name}"
        rows.append((quantity, own, _listed(classes) + n))
    lower = sum(
        bool(b.similarity.min() < a.similarity.min()) for a, b in zip(early, late, strict=True)
    )
    quantity = "seeds in which the late similarities reach lower than the early ones"
    rows.append((quantity, "no", f"{lower} of {len(found)}"))
    return pd.DataFrame(rows, columns=["Quantity", "Published", "This run, by seed"])


def _lowest(stage: Stage) -> Tensor:
    """Lowest similarity of each image (images,) to a cached vector that is defined."""
    return stage.similarity.nan_to_num(nan=1.0).amin(dim=1)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def readings(found: list[Reading], against: Literal["previous", "first"]) -> pd.DataFrame:
    """Images skipped and test accuracy of one reading after the other.

    The change of the share skipped is that of the last epoch, paired by seed, against the row
    before or the first row.
    """

    n = this_run(len(found[0].runs))

    def skipped(number: int) -> list[float]:
        return [run.skipped(-1) for run in found[number].runs]

    def change(number: int) -> str:
        other = number - 1 if against == "previous" else 0
        return difference(skipped(number), skipped(other)) if number else "–"

    columns: dict[str, Callable[[int], str]] = {
        "Option": lambda i: found[i].option or "–",
        "Set to": lambda i: found[i].value or "no cache",
        f"{n}: skipped, last epoch (%)": lambda i: spread(skipped(i)),
        "This run: change of that share (points)": change,
        "This run: test accuracy (%)": lambda i: spread([r.test_accuracy for r in found[i].runs]),
    }
    return _frame(range(len(found)), columns)


def missing_class(found: list[MissingClass]) -> pd.DataFrame:
    """Probability in percent that an epoch's first batch misses a class."""
    columns: dict[str, Callable[[MissingClass], str]] = {
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
        "This run: skipped (%)": lambda reading: spread([_mean_skipped(r) for r in reading.runs]),
        "This run: test accuracy (%)": lambda reading: spread(
            [r.test_accuracy for r in reading.runs]
        ),
    }
    return _frame(found, columns)


def _mean_skipped(run: Run) -> float:
    return fmean(run.skipped(epoch) for epoch in range(len(run.history.epochs)))


def input_scales(found: list[Scaled]) -> pd.DataFrame:
    """Fig. 7 in small, by input scale: accuracies and images skipped in percent."""

    def final(runs: list[Run]) -> list[float]:
        return [run.test_accuracy for run in runs]

    columns: dict[str, Callable[[Scaled], str]] = {
        "Input scale": lambda s: s.input_scale,
        f"{this_run(len(found[0].plain))}: plain": lambda s: spread(final(s.plain)),
        "This run: cached": lambda s: spread(final(s.cached)),
        "This run: cached − plain (points)": lambda s: difference(final(s.cached), final(s.plain)),
        "This run: skipped (%)": lambda s: spread([_mean_skipped(run) for run in s.cached]),
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


def exits(found: list[list[ExitLayer]], timed: bool = False) -> pd.DataFrame:
    """Leaving a trained network at a layer: rates and accuracies in percent, or times."""
    columns = {"time": "seconds, ratio to no exits"} if timed else EXITS
    return pd.DataFrame(
        {"Layer": rows[0].layer}
        | {h: spread([getattr(r, k) for r in rows], 1 + timed) for k, h in columns.items()}
        for rows in zip(*found, strict=True)
    )


def map_training(rows: list[Row]) -> pd.DataFrame:
    """Fig. 9: train and test accuracy in percent of base, map and control models."""
    table = []
    for runs in by_row(rows):
        known = _fig9(runs[0])
        printed = {"base": known[2:4], "maps": known[4:6]} if known else {}
        for model in MODELS:
            train, test = printed.get(model, (None, None))
            ours = [run.finished(model) for run in runs]
            table.append(
                {
                    "Row": _row_name(runs[0]) if model == MODELS[0] else "",
                    "Model": MODEL_NAMES[model],
                    "Published: train": "–" if train is None else f"{train:.2f}",
                    "Published: test": "–" if test is None else f"{test:.2f}",
                    f"{this_run(len(runs))}: train": finished(_split(ours, "train")),
                    "This run: test": finished(_split(ours, "test")),
                    "This run: train − test": finished(_gaps(ours)),
                }
            )
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


def _split(
    accuracies: Sequence[Accuracy | None], split: Literal["train", "test"]
) -> list[float | None]:
    return [None if a is None else getattr(a, split) for a in accuracies]


def _gaps(accuracies: Sequence[Accuracy | None]) -> list[float | None]:
    """Train minus test accuracy in points."""
    return [None if a is None else a.train - a.test for a in accuracies]


def ways(runs: list[WayRun]) -> pd.DataFrame:
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
        chosen = [trial for trial in trials if trial.learning_rate == rate]
        tables.append(_by_seed(chosen, columns))
    return reduce(pd.merge, tables)


def _by_seed(trials: list[Trial], columns: dict[str, Callable[[Trial], str]]) -> pd.DataFrame:
    """A row per kind of trial, with the seeds' values side by side in each cell."""
    keys = {"Network": "activation", "Input": "input_scale", "Trained on": "images"}
    rows = [
        {head: getattr(trial, name) for head, name in keys.items()}
        | {head: cell(trial) for head, cell in columns.items()}
        for trial in trials
    ]
    return pd.DataFrame(rows).groupby([*keys], sort=False).agg(", ".join).reset_index()


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _end(trial: Trial) -> str:
    """Mean loss of the last epoch, or where the loss was no number: epoch and step."""
    end = trial.history.divergence if trial.history else None
    return f"{end.loss} ({end.epoch}:{end.step})" if end else _number(trial.last_loss, ".2g")


def clean_accuracy(runs: list[Robustness], chance: float) -> pd.DataFrame:
    """Accuracy in percent of the three models on unchanged images."""
    rows = [
        (
            MODEL_NAMES[model],
            finished([run.clean_accuracy("test", model) for run in runs]),
            finished([run.clean_accuracy("held_out", model) for run in runs]),
        )
        for model in VICTIMS
    ]
    rows.append(("always the most frequent class", f"{chance:.1f}", "–"))
    heading = this_run(len(runs))
    return pd.DataFrame(rows, columns=["Model", f"{heading}: test", "This run: held-out"])


def released_robustness(runs: list[Robustness]) -> pd.DataFrame:
    """Fig. 10: accuracy in percent on images perturbed as released, and after the clamp alone."""
    printed = {row.eps: row for row in published.FIG10}
    rows = []
    for eps in _epsilons(runs, "released"):
        row = {
            "ε": f"{eps:g}" + (" (clamp alone)" if eps == 0 else ""),
            "Published: base": f"{printed[eps].base:.2f}" if eps in printed else "–",
            "Published: maps": f"{printed[eps].maps:.2f}" if eps in printed else "–",
        }
        rows.append(row | _victims(runs, "released", eps))
    return pd.DataFrame(rows)


def attacks(runs: list[Robustness]) -> pd.DataFrame:
    """Accuracy in percent under one proper step on [0, 1], by whose gradient it uses."""
    return _perturbed(runs, ["sign noise", *FGSM_ON.values()])


def own_attacks(runs: list[Robustness]) -> pd.DataFrame:
    """Accuracy in percent of each model under attacks on itself, on the same images."""
    return _perturbed(runs, ["own fgsm", "own pgd", "own restarts", "own squares"])


def _perturbed(runs: list[Robustness], perturbations: Sequence[Perturbation]) -> pd.DataFrame:
    rows = [
        {"Perturbation": PERTURBATION_NAMES[perturbation], "ε": f"{eps:g}"}
        | _victims(runs, perturbation, eps)
        for perturbation in perturbations
        for eps in _epsilons(runs, "own fgsm")
    ]
    return pd.DataFrame(rows)


def _epsilons(runs: list[Robustness], perturbation: Perturbation) -> list[float]:
    return sorted({o.eps for run in runs for o in run.outcomes if o.perturbation == perturbation})


def _victims(runs: list[Robustness], perturbation: Perturbation, eps: float) -> dict[str, str]:
    """One column per model; of shared images, those by a model's own gradient are marked."""
    return {
        f"{this_run(len(runs))}: {MODEL_NAMES[model]}": finished(
            [run.accuracy(perturbation, eps, model) for run in runs]
        )
        + (" white-box" if perturbation == FGSM_ON[model] else "")
        for model in VICTIMS
    }


def masking(runs: list[Robustness], eps: float) -> pd.DataFrame:
    """Signs that gradients are hidden, by model: numbers in percent, and in how many seeds."""
    table = []
    for sign, name in SIGNS_OF_MASKING.items():
        for model in VICTIMS:
            pairs = [found[sign] for run in runs if (found := run.masking(model, eps))]
            seen = sum(a > b for a, b in pairs)
            table.append(
                {
                    "Sign of masking": name,
                    "Model": MODEL_NAMES[model],
                    f"{this_run(len(runs))}: a (%)": spread([a for a, _ in pairs]),
                    "This run: b (%)": spread([b for _, b in pairs]),
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
                    "Images": ", ".join(sorted({f"{o.n:,}" for o in found})) or "–",
                    "Only base right": ", ".join(str(o.only_base) for o in found) or "–",
                    "Only maps right": ", ".join(str(o.only_maps) for o in found) or "–",
                    "p": ", ".join("<0.001" if x < 0.001 else f"{x:.3f}" for x in p) or "–",
                }
            )
    return pd.DataFrame(table)


def summary(rows: Sequence[tuple[str, str, str, str]]) -> pd.DataFrame:
    """What a chapter comes to: quantity, published, authors' log, this run."""
    return pd.DataFrame(rows, columns=["Quantity", "Published", "Authors' log", "This run"])


def caching_summary(runs: list[Comparison], sweep: list[Comparison]) -> pd.DataFrame:
    """What chapter 02 comes to: final accuracies, paired differences, share skipped."""
    final = {c: [getattr(run, c).test_accuracy for run in runs] for c in CONDITIONS}
    skipped = [100 * fmean(e.skipped / e.seen for e in run.cached.history.epochs) for run in runs]
    log = published.authors_final()
    logged = {c: log[4096, c].test_accuracy for c in ("plain", "cached")}
    plain, cached = published.FIG7.plain_accuracy[-1], published.FIG7.cached_accuracy[-1]
    known: dict[Condition, tuple[str, str]] = {
        "plain": (f"{plain:.1f}", f"{logged['plain']:.2f}"),
        "cached": (f"{cached:.1f}", f"{logged['cached']:.2f}"),
        "random": ("–", "–"),
    }
    n = f", n = {len(runs)}"
    return summary(
        [
            *(
                (
                    f"Fig. 7, final test accuracy (%): {CONDITION_NAMES[c]}",
                    *known[c],
                    spread(final[c]) + n,
                )
                for c in CONDITIONS
            ),
            (
                "cached − plain (points, paired by seed)",
                f"{cached - plain:+.1f}",
                f"{logged['cached'] - logged['plain']:+.2f}",
                difference(final["cached"], final["plain"]) + n,
            ),
            (
                "cached − random skipping (points, paired by seed)",
                "–",
                "–",
                difference(final["cached"], final["random"]) + n,
            ),
            (
                "images skipped (% of an epoch, mean)",
                f"{100 * fmean(published.FIG7.hits) / 60_000:.1f}",
                "–",
                spread(skipped) + n,
            ),
            (
                "Fig. 8, runs in which cached reaches plain test accuracy",
                _wins(published.FIG8.cached_test, published.FIG8.plain_test),
                "–",
                _wins(
                    [run.cached.test_accuracy for run in sweep],
                    [run.plain.test_accuracy for run in sweep],
                ),
            ),
        ]
    )


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


def _wins(values: Sequence[float], reference: Sequence[float]) -> str:
    return f"{sum(a >= b for a, b in zip(values, reference, strict=True))} of {len(values)}"


def map_training_summary(rows: list[Row]) -> pd.DataFrame:
    """What chapter 03 comes to: change of test accuracy and of the train-test gap."""
    table = []
    for runs in by_row(rows):
        known, n = _fig9(runs[0]), f", n = {len(runs)}"
        where = f"Fig. 9, {_row_name(runs[0])}: map model"
        maps = [run.finished("maps") for run in runs]
        references: tuple[Model, ...] = ("base", "originals")
        for model in references:
            other = [run.finished(model) for run in runs]
            pair = f"{where} − {MODEL_NAMES[model]}"
            printed = known if model == "base" else None
            table += [
                (
                    f"{pair}, test accuracy (points)",
                    f"{printed.maps_test - printed.base_test:+.2f}" if printed else "–",
                    "–",
                    difference(_split(maps, "test"), _split(other, "test")) + n,
                ),
                (
                    f"{pair}, train − test gap (points)",
                    f"{_gap_change(printed):+.2f}" if printed else "–",
                    "–",
                    difference(_gaps(maps), _gaps(other)) + n,
                ),
            ]
    return summary(table)


def _gap_change(row: published.Fig9Row) -> float:
    return (row.maps_train - row.maps_test) - (row.base_train - row.base_test)


def robustness_summary(runs: list[Robustness]) -> pd.DataFrame:
    """What chapter 04 comes to: map model minus base model by perturbation, signs of masking."""
    printed = {row.eps: row for row in published.FIG10}
    table = []
    shown: list[Perturbation] = ["released", "fgsm on base", "fgsm on maps", "own restarts"]
    for perturbation in shown:
        for eps in _epsilons(runs, "released" if perturbation == "released" else "own fgsm"):
            known = printed.get(eps) if perturbation == "released" else None
            maps = [run.accuracy(perturbation, eps, "maps") for run in runs]
            base = [run.accuracy(perturbation, eps, "base") for run in runs]
            detail = "clamp alone" if eps == 0 else f"ε = {eps:g}"
            name = PERTURBATION_NAMES[perturbation]
            table.append(
                (
                    f"Fig. 10, {name}, {detail}: map − base model (points)",
                    "–" if known is None else f"{known.maps - known.base:+.2f}",
                    "–",
                    f"{difference(maps, base)}, n = {len(runs)}",
                )
            )
    return summary(table)
