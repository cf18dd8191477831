"""Tables of chapter 01."""

import pandas as pd

from fmlib import evidence
from fmlib.data import Dataset
from fmlib.experiments.exploration import NETWORKS, SPLITS, Distances, OutlierRun, Split
from fmlib.tables.cells import (
    difference,
    interval,
    number,
    plain_text,
    recorded_in,
    spread,
    stated,
    summary,
    this_run,
)


def class_sizes(dataset: Dataset) -> pd.DataFrame:
    """Classes with their names and numbers of images."""
    train, test = (
        [f"{count:,}" for count in labels.bincount(minlength=dataset.n_classes).tolist()]
        for labels in (dataset.train_labels, dataset.test_labels)
    )
    named = {"Class": map(str, range(len(train))), "Name": map(plain_text, dataset.class_names)}
    return pd.DataFrame(named | {"Training images": train, "Test images": test})


def source(dataset: Dataset) -> str:
    """Name and origin of a dataset, for a caption."""
    return plain_text(f"{dataset.name} ({dataset.origin})")


def outlier_distances(found: Distances, dataset: Dataset) -> pd.DataFrame:
    """Fig. 2: distances to the centroid within a class, and those of its farthest images."""
    rows = []
    for label, positions in found.outliers.items():
        own = found.distances[dataset.train_labels == label]
        farthest = ", ".join(f"{d:.3f}" for d in found.distances[positions].tolist())
        name = plain_text(dataset.class_names[label])
        rows.append((name, f"{own.median():.3f}", f"{own.quantile(0.95):.3f}", farthest))
    return pd.DataFrame(rows, columns=["Class", "Median", "95 % quantile", "Farthest images"])


def separation(
    pca: float, pixels: float, chance: float, recorded: pd.DataFrame, whole: pd.DataFrame
) -> pd.DataFrame:
    """How often neighbours name a point's class, by the space in which they are sought.

    `recorded` are embeddings of samples (`evidence.exploration`), `whole` those of all images.
    """
    names = ["always the most frequent class", "PCA, 2 coordinates", "t-SNE, 2 coordinates"]
    samples, all_images = (
        [_looks(table, name) for name in ("none", "PCA", "t-SNE", "none")]
        for table in (recorded, whole)
    )
    accuracies = [number(accuracy, ".1f") for accuracy in (chance, pca, None, pixels)]
    return pd.DataFrame(
        {
            "Neighbours in": [*names, "all pixels"],
            f"{recorded_in(samples[1])}, samples: accuracy (%)": map(interval, samples),
            f"{recorded_in(all_images[1])}, all images: accuracy (%)": map(interval, all_images),
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


def _trend(runs: list[OutlierRun], split: Split) -> str:
    return spread([run.errors[split].trend for run in runs], 2)


def recorded_errors_by_decile(deciles: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """Recorded wrong answers by decile (`evidence.deciles`), the trends of `recorded` below."""
    rows, pairs = [], {}
    for decile in range(1, 11):
        of = deciles[deciles["decile"] == decile]
        pairs = {split: evidence.outcomes(of, "wrong", split=split) for split in SPLITS}
        gap = evidence.differences(pairs["test"], pairs["train"])
        known = (interval(pairs[split], 2) for split in SPLITS)
        rows.append((str(decile), *known, interval(gap, 2, sign="+")))
    trends = (interval(_looks(recorded, f"trend {split}"), 2) for split in SPLITS)
    rows.append(("rank correlation", *trends, ""))
    headings = ["Decile", f"{recorded_in(pairs['train'])}: training, wrong (%)"]
    headings += ["test, wrong (%)", "test − training (points)"]
    return pd.DataFrame(rows, columns=headings)


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
        rows.append((name, stated(_looks(recorded, f"trend {split}"), 2), _trend(runs, split)))
    for position, name in enumerate(runs[0].groups):
        without, control = ([r.groups[name].accuracy[n] for r in runs] for n in NETWORKS)
        known = [_looks(recorded, f"{name}: {network}") for network in NETWORKS]
        if position == 0:
            quantity = "outliers never trained on, accuracy (%)"
            rows.append((quantity, stated(known[0]), spread(without)))
        gain = stated(evidence.differences(known[1], known[0]), sign="+")
        name = f"accuracy on {name}: with − without outliers in training (points)"
        rows.append((name, gain, difference(control, without)))
    n = f", n = {len(runs)}"
    return summary([(name, "–", "–", known, ours + n) for name, known, ours in rows])
