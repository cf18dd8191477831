"""Numbers as tables: Published, Authors' log and This run side by side.

Every function returns a pandas DataFrame of text; `show` displays one as a numbered,
captioned table of the book.  A number over several seeds reads "mean (lowest-highest)"; the
columns of This run say over how many.  Recorded results will stand between the two.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from statistics import fmean
from typing import Literal

import pandas as pd
from IPython.display import Markdown, display

from fmlib import published
from fmlib.data import Dataset
from fmlib.experiments.adversarial_robustness import VICTIMS, Perturbation, Robustness, Victim
from fmlib.experiments.caching import CONDITIONS, Comparison, Condition
from fmlib.experiments.exploration import Distances
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


def _plain(text: str) -> str:
    """Text from outside, such as a folder's name, with nothing that Markdown would interpret."""
    return "".join(f"&#{ord(c)};" if c in "<>&|`*_[]{}$\\" else c for c in text)


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
    rows = [
        ("always the most frequent class", f"{chance:.1f}"),
        ("PCA, 2 coordinates", f"{pca:.1f}"),
        ("all pixels", f"{pixels:.1f}"),
    ]
    return pd.DataFrame(rows, columns=["Neighbours in", "This run: accuracy (%)"])


def _accuracies(runs: list[Comparison], condition: Condition, epoch: int) -> list[float]:
    """Test accuracy of each seed after an epoch; runs that ended before it are left out."""
    histories = [getattr(run, condition).history for run in runs]
    return [h.test_accuracies[epoch] for h in histories if epoch < len(h.epochs)]


def _at(values: Sequence[float], index: int, digits: int = 1) -> str:
    return f"{values[index]:,.{digits}f}" if index < len(values) else "–"


def caching_accuracy(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 7: test accuracy in percent after every epoch, plain, cached and random."""
    rows = []
    for epoch in range(max(len(run.plain.history.epochs) for run in runs)):
        row = {
            "Epoch": str(epoch + 1),
            "Published: plain": _at(published.FIG7.plain_accuracy, epoch),
            "Published: cached": _at(published.FIG7.cached_accuracy, epoch),
        }
        for condition in CONDITIONS:
            heading = f"{this_run(len(runs))}: {CONDITION_NAMES[condition]}"
            row[heading] = spread(_accuracies(runs, condition, epoch))
        rows.append(row)
    return pd.DataFrame(rows)


def caching_hits(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 7: images skipped in every epoch, as a share, and images trained on."""
    rows = []
    for epoch in range(max(len(run.cached.history.epochs) for run in runs)):
        ours = [
            r.cached.history.epochs[epoch] for r in runs if epoch < len(r.cached.history.epochs)
        ]
        control = [
            r.random.history.epochs[epoch] for r in runs if epoch < len(r.random.history.epochs)
        ]
        hits = [100 * h / 60_000 for h in published.FIG7.hits]
        rows.append(
            {
                "Epoch": str(epoch + 1),
                "Published: skipped (%)": _at(hits, epoch),
                "Published: trained": _at(published.FIG7.trained, epoch, 0),
                f"{this_run(len(runs))}: skipped (%)": spread(
                    [100 * e.skipped / e.seen for e in ours]
                ),
                "This run: trained": spread([e.trained for e in ours], 0),
                "This run: random, trained": spread([e.trained for e in control], 0),
            }
        )
    return pd.DataFrame(rows)


def _log_seconds(batch_size: int, training: str) -> list[float]:
    return [
        e.seconds
        for e in published.authors_log()
        if (e.batch_size, e.training) == (batch_size, training)
    ]


def caching_seconds(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 7: median seconds per epoch, and their ratio to plain training."""
    log = {c: _median(_log_seconds(4096, c)) for c in ("plain", "cached")}
    ours = {
        c: [_median([e.seconds for e in getattr(run, c).history.epochs]) for run in runs]
        for c in CONDITIONS
    }
    rows = []
    for condition in CONDITIONS:
        logged = log.get(condition)
        ratios = [a / b for a, b in zip(ours[condition], ours["plain"], strict=True)]
        rows.append(
            {
                "Training": CONDITION_NAMES[condition],
                "Authors' log: seconds": "–" if logged is None else f"{logged:.1f}",
                "Authors' log: ratio": "–" if logged is None else f"{logged / log['plain']:.2f}",
                f"{this_run(len(runs))}: seconds": spread(ours[condition], 2),
                "This run: ratio": spread(ratios, 2),
            }
        )
    return pd.DataFrame(rows)


def _median(values: Sequence[float]) -> float:
    return float(pd.Series(values).median())


def batch_sizes(runs: list[Comparison]) -> pd.DataFrame:
    """Fig. 8: train and test accuracy in percent after training, over batch sizes.

    The authors' log adds in how many of ten epochs the cache skipped nothing at all.
    """
    rows = []
    for size in sorted({run.batch_size for run in runs}):
        chosen = [run for run in runs if run.batch_size == size]
        for split in ("train", "test"):
            row = {"Batch size": str(size), "Images": split}
            for condition in ("plain", "cached"):
                row[f"Published: {condition}"] = _published_fig8(size, condition, split)
            row["Authors' log: epochs without a hit"] = _log_epochs_without_hit(size)
            for condition_name in CONDITIONS:
                heading = f"{this_run(len(chosen))}: {CONDITION_NAMES[condition_name]}"
                ours = [getattr(getattr(r, condition_name), f"{split}_accuracy") for r in chosen]
                row[heading] = spread(ours)
            without = [sum(e.skipped == 0 for e in r.cached.history.epochs) for r in chosen]
            row["This run: epochs without a hit"] = ", ".join(
                f"{w} of {len(r.cached.history.epochs)}"
                for w, r in zip(without, chosen, strict=True)
            )
            rows.append(row)
    return pd.DataFrame(rows)


def _published_fig8(size: int, condition: str, split: str) -> str:
    if size not in published.FIG8.batch_sizes:
        return "–"
    values = getattr(published.FIG8, f"{condition}_{split}")
    value = values[published.FIG8.batch_sizes.index(size)]
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def _log_epochs_without_hit(size: int) -> str:
    hits = [
        e.hits for e in published.authors_log() if (e.batch_size, e.training) == (size, "cached")
    ]
    return f"{sum(h == 0 for h in hits)} of {len(hits)}" if hits else "–"


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
                    "Row": _row_name(runs[0]),
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
    """Accuracy in percent under a proper attack on [0, 1], by whose gradient it uses."""
    names: dict[Perturbation, str] = {
        "sign noise": "random sign noise",
        "fgsm on base": "FGSM by base model",
        "fgsm on maps": "FGSM by map model",
    }
    rows = [
        {"Perturbation": name, "ε": f"{eps:g}"} | _victims(runs, perturbation, eps)
        for perturbation, name in names.items()
        for eps in _epsilons(runs, perturbation)
    ]
    return pd.DataFrame(rows)


def _epsilons(runs: list[Robustness], perturbation: Perturbation) -> list[float]:
    return sorted({c.eps for run in runs for c in run.cells if c.perturbation == perturbation})


def _victims(runs: list[Robustness], perturbation: Perturbation, eps: float) -> dict[str, str]:
    """One column per model; a model attacked by its own gradient is marked."""
    own: dict[Perturbation, Victim] = {"fgsm on base": "base", "fgsm on maps": "maps"}
    return {
        f"{this_run(len(runs))}: {MODEL_NAMES[model]}": finished(
            [run.accuracy(perturbation, eps, model) for run in runs]
        )
        + (" white-box" if own.get(perturbation) == model else "")
        for model in VICTIMS
    }


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
    """What chapter 04 comes to: map model minus base model, by perturbation and eps."""
    names: dict[Perturbation, str] = {
        "released": "as released",
        "fgsm on base": "FGSM by base model",
        "fgsm on maps": "FGSM by map model",
    }
    printed = {row.eps: row for row in published.FIG10}
    table = []
    for perturbation, name in names.items():
        for eps in _epsilons(runs, perturbation):
            known = printed.get(eps) if perturbation == "released" else None
            maps = [run.accuracy(perturbation, eps, "maps") for run in runs]
            base = [run.accuracy(perturbation, eps, "base") for run in runs]
            detail = "clamp alone" if eps == 0 else f"ε = {eps:g}"
            table.append(
                (
                    f"Fig. 10, {name}, {detail}: map − base model (points)",
                    "–" if known is None else f"{known.maps - known.base:+.2f}",
                    "–",
                    f"{difference(maps, base)}, n = {len(runs)}",
                )
            )
    return summary(table)
