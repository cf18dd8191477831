"""Numbers as tables: Published, Authors' log and This run side by side.

Every function returns a pandas DataFrame of text; `show` displays one as a numbered,
captioned table of the book.  A number over several seeds reads "mean (lowest-highest)"; the
columns of This run say over how many.  Recorded results will stand between the two.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

import pandas as pd
from IPython.display import Markdown, display

from fmlib import published
from fmlib.data import Dataset
from fmlib.experiments.adversarial_robustness import VICTIMS, Perturbation, Robustness, Victim
from fmlib.experiments.caching import CONDITIONS, Comparison, Condition
from fmlib.experiments.exploration import NETWORKS, SPLITS, Distances, OutlierRun, Split
from fmlib.experiments.feature_map_regularization import MODELS, Accuracy, Model, Row

CONDITION_NAMES: dict[Condition, str] = {
    "plain": "plain",
    "cached": "cached",
    "random": "random skipping",
}
MODEL_NAMES: dict[Model, str] = {
    "base": "base model",
    "maps": "map model",
    "originals": "control: originals",
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


def map_training(rows: list[Row], dataset_name: str) -> pd.DataFrame:
    """Fig. 9: train and test accuracy in percent of base, map and control model."""
    table = []
    for size in sorted({row.batch_size for row in rows}):
        chosen = [row for row in rows if row.batch_size == size]
        known = _fig9(dataset_name, size)
        printed = {} if known is None else {"base": known[2:4], "maps": known[4:6]}
        for model in MODELS:
            train, test = printed.get(model, (None, None))
            ours = _kept(chosen, model)
            table.append(
                {
                    "Batch size": str(size),
                    "Model": MODEL_NAMES[model],
                    "Published: train": "–" if train is None else f"{train:.2f}",
                    "Published: test": "–" if test is None else f"{test:.2f}",
                    f"{this_run(len(chosen))}: train": finished(_split(ours, "train")),
                    "This run: test": finished(_split(ours, "test")),
                    "This run: train − test": finished(_gaps(ours)),
                }
            )
    return pd.DataFrame(table)


def _kept(rows: list[Row], model: Model) -> list[Accuracy | None]:
    """Accuracies of one model by row; None for a map model whose training diverged."""
    return [None if model == "maps" and row.diverged else getattr(row, model) for row in rows]


def _split(
    accuracies: Sequence[Accuracy | None], split: Literal["train", "test"]
) -> list[float | None]:
    return [None if a is None else getattr(a, split) for a in accuracies]


def _gaps(accuracies: Sequence[Accuracy | None]) -> list[float | None]:
    """Train minus test accuracy in points."""
    return [None if a is None else a.train - a.test for a in accuracies]


def _loss(value: float) -> str:
    return f"{value:.2f}" if value < 1e6 else f"{value:.2e}"


def released_training(rows: list[Row]) -> pd.DataFrame:
    """Section 7.2: what training on maps comes to at the released input scale, by seed."""
    table = []
    for row in rows:
        end = row.maps_history.divergence
        losses = [e.loss for e in row.maps_history.epochs]
        table.append(
            (
                str(row.seed),
                f"{row.base.test:.1f}",
                "–" if end is None else f"epoch {end.epoch}, step {end.step}",
                "–" if end is not None or losses[-1] is None else _loss(losses[-1]),
                "–" if end is not None else f"{row.maps.test:.1f}",
                f"{row.originals.test:.1f}",
            )
        )
    headings = ["Seed", "Base: test (%)", "Loss undefined at", "Mean loss on maps, last epoch"]
    return pd.DataFrame(table, columns=[*headings, "Map model: test (%)", "Control: test (%)"])


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


def map_training_summary(rows: list[Row], dataset_name: str) -> pd.DataFrame:
    """What chapter 03 comes to: change of test accuracy and of the train-test gap."""
    table = []
    for size in sorted({row.batch_size for row in rows}):
        chosen = [row for row in rows if row.batch_size == size]
        n = f", n = {len(chosen)}"
        printed = _fig9(dataset_name, size)
        base = [row.base for row in chosen]
        continuations: tuple[Model, ...] = ("maps", "originals")
        for model in continuations:
            ours = _kept(chosen, model)
            known = printed if model == "maps" else None
            table.append(
                (
                    f"Fig. 9, batch {size}, test accuracy: {MODEL_NAMES[model]} − base (points)",
                    "–" if known is None else f"{known.maps_test - known.base_test:+.2f}",
                    "–",
                    difference(_split(ours, "test"), _split(base, "test")) + n,
                )
            )
            table.append(
                (
                    f"batch {size}, change of train − test gap: {MODEL_NAMES[model]} (points)",
                    "–" if known is None else f"{_gap_change(known):+.2f}",
                    "–",
                    difference(_gaps(ours), _gaps(base)) + n,
                )
            )
    return summary(table)


def _fig9(dataset_name: str, batch_size: int) -> published.Fig9Row | None:
    rows = [r for r in published.FIG9 if (r.dataset, r.batch_size) == (dataset_name, batch_size)]
    return rows[0] if rows else None


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
