"""Figures of chapter 04."""

from collections.abc import Sequence
from itertools import product
from statistics import fmean

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import NullLocator

from fmlib import evidence, published
from fmlib.experiments import adversarial_robustness as adversarial
from fmlib.experiments.adversarial_robustness import (
    FGSM_ON,
    PGD_ON,
    TWINS,
    VICTIMS,
    Robustness,
)
from fmlib.experiments.feature_map_regularization import MODELS
from fmlib.figures.style import (
    MARKERS,
    NAMES,
    PALETTE,
    PUBLISHED,
    WIDTH,
    band,
    each_run,
    image_grid,
    legend_below,
    look,
    mean_and_interval,
    panel_row,
    seed_count,
    show_image,
    wrapped,
)


def robustness(runs: list[Robustness], epsilons: Sequence[float]) -> None:
    """Fig. 10 as curves over eps, a panel per perturbation; a point per seed, lines for means."""
    _, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.6), sharex=True, sharey=True)
    sources: dict[adversarial.Perturbation, adversarial.Victim | None] = {"sign noise": None}
    sources |= {FGSM_ON[source]: source for source in VICTIMS}
    for ax, (perturbation, source) in zip(axes.flat, sources.items(), strict=True):
        for model in VICTIMS:
            colour, means = PALETTE[model], []
            for eps in (0.0, *epsilons):
                kind = perturbation if eps else "unchanged"
                values = [run.accuracy(kind, eps, model) for run in runs]
                known = [value for value in values if value is not None]
                ax.plot([eps] * len(known), known, MARKERS[model], ms=4, alpha=0.5, color=colour)
                means.append(fmean(known) if known else float("nan"))
            line = "-" if model == source else "--"
            ax.plot((0.0, *epsilons), means, line, lw=2, color=colour)
        ax.set(title=f"FGSM by {NAMES[source]}" if source else perturbation, ylim=(-3, 102))
    for model in VICTIMS:
        found = {run.seed: run.accuracy("unchanged", 0.0, model) for run in runs}
        label = f"{NAMES[model]}, {seed_count(found)}"
        axes[1][1].plot([], [], color=PALETTE[model], marker=MARKERS[model], label=label)
    axes[1][1].plot([], [], "k-", label="by its own gradient")
    for ax in axes[1]:
        ax.set_xlabel("ε (pixels of 0 to 1)")
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)")
    legend_below(axes[1][1], columns=2)


def perturbed_examples(found: adversarial.Examples, class_names: Sequence[str]) -> None:
    """Fig. 10: images under each perturbation, with what both models take them for."""
    grid = image_grid(len(found.kinds), found.images.shape[1], 1.1 * len(found.kinds))
    for row, axes in enumerate(grid):
        axes[0].set_ylabel(
            wrapped(found.kinds[row]), rotation=0, ha="right", va="center", fontsize=9
        )
        for column, ax in enumerate(axes):
            show_image(ax, found.images[row, column])
            seen = [int(found.predictions[model][row, column]) for model in ("base", "maps")]
            ax.set_title(" | ".join(wrapped(class_names[label]) for label in seen), fontsize=9)


def perturbed_by_epsilon(
    found: adversarial.Sweep, class_names: Sequence[str], rows: int = 4, columns: int = 7
) -> None:
    """The first images under FGSM by the first model as eps grows, and what each model sees."""
    source, *_ = found.signs
    rows = min(rows, len(found.images))
    last = len(found.epsilons) - 1
    steps = [round(column * last / (columns - 1)) for column in range(columns)]
    for row, axes in enumerate(image_grid(rows, columns, 1.25 * rows)):
        for step, ax in zip(steps, axes, strict=True):
            eps = found.epsilons[step]
            show_image(ax, found.images[row] + eps * found.signs[source][row])
            seen = [int(found.seen[source, judge][row, step]) for judge in found.signs]
            ax.set_title(" | ".join(wrapped(class_names[label]) for label in seen), fontsize=9)
            if row == rows - 1:
                ax.set_xlabel(f"ε = {eps:.2f}")


def recorded_robustness(recorded: pd.DataFrame) -> None:
    """Fig. 10 as curves over eps: PGD and FGSM by the base model and by the map model.

    Means and intervals; of map models, which differ widely, a line per seed.
    """
    _, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.0), sharex=True, sharey=True)
    epsilons = (0.0, 0.05, 0.15, 0.25)
    for line, (attack, by) in zip(axes, {"PGD": PGD_ON, "FGSM": FGSM_ON}.items(), strict=True):
        for ax, source in zip(line, VICTIMS[:2], strict=True):
            for model in (*VICTIMS, *TWINS):
                kinds = [by[source] if eps else "unchanged" for eps in epsilons]
                pairs = zip(kinds, epsilons, strict=True)
                found = [evidence.judged(recorded, kind, eps, model) for kind, eps in pairs]
                dashes = "-" if model == source else "--"
                if model == "maps":
                    each_run(ax, epsilons, found, model, dashes)
                else:
                    band(ax, epsilons, found, model, dashes)
            made = evidence.judged(recorded, by[source], epsilons[-1], source)
            ax.set(title=f"{attack} by {NAMES[source]}, {seed_count(made)}", ylim=(-3, 102))
    axes[1, 0].plot([], [], "k-", label="by its own gradient")
    for ax in axes[1]:
        ax.set_xlabel("ε (pixels of 0 to 1)")
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)")
    legend_below(axes[1, 0], columns=2)


def recorded_own_attacks(recorded: pd.DataFrame) -> None:
    """Accuracy over eps up to 1 of base model and copies, a panel per perturbation.

    FGSM by the base model and by each model itself, and random signs.  Means and intervals; the
    axis is linear to 0.1 and logarithmic beyond.
    """
    titles = {
        "fgsm on base": "FGSM by base model",
        "own fgsm": "FGSM, each by itself",
        "sign noise": "random signs",
    }
    places = [0.0, *sorted(set(recorded[recorded["perturbation"] == "own fgsm"]["eps"]))]
    axes = panel_row(len(titles), 3.8)
    axes[0].annotate("guessing", (0.005, 11), color="0.35", fontsize=8)
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        ax.axhline(10, color="0.6", lw=1, ls=":", zorder=0)
        for model in MODELS:
            kinds = [kind if eps else "unchanged" for eps in places]
            pairs = zip(kinds, places, strict=True)
            found = [evidence.judged(recorded, *pair, model) for pair in pairs]
            own = kind == "own fgsm" or (kind, model) == ("fgsm on base", "base")
            band(ax, places, found, model, "-" if own else "--")
        ax.set(title=title, xlabel="ε (pixels of 0 to 1)", ylim=(-3, 102), xlim=(0, 1.1))
        ax.set_xscale("symlog", linthresh=0.1, linscale=0.6)
        ax.set_xticks(ticks := [0, 0.05, 0.15, 0.25, 0.5, 1], [f"{tick:g}" for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.tick_params(axis="x", labelrotation=60)
    axes[1].plot([], [], "k-", label="by its own gradient")
    axes[0].set_ylabel("accuracy (%)")
    legend_below(axes[1], columns=2)


def recorded_own_differences(recorded: pd.DataFrame) -> None:
    """Map model minus base model and minus each control under attacks, paired by seed.

    In the colour of what is subtracted.
    """
    kinds = {
        "fgsm on base": "FGSM by base model",
        "own fgsm": "FGSM, each by itself",
        "own restarts": "PGD, each by itself",
        "own squares": "Square Attack, each by itself",
    }
    rows = [("unchanged", 0.0), *product(kinds, (0.15, 0.25))]
    others = [model for model in MODELS if model != "maps"]
    [ax] = panel_row(height=5.6)
    maps = evidence.judged(recorded, "unchanged", 0.0, "maps")
    ax.axvline(0, color="0.6", lw=1)
    for (row, (kind, eps)), (number, model) in product(enumerate(rows), enumerate(others)):
        pair = [evidence.judged(recorded, kind, eps, m) for m in ("maps", model)]
        place = row + 0.2 * (number - 1.5)
        mean_and_interval(ax, place, evidence.differences(*pair), model, 0.1, turn=-1)
    for model in others:
        pairs = evidence.differences(maps, evidence.judged(recorded, "unchanged", 0.0, model))
        label = f"− {NAMES[model]}, {seed_count(pairs)}"
        ax.plot([], [], ls="none", label=label, **look(model, 7))
    ax.set(title="recorded", xlabel="accuracy, map model − other (points)")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    names = [f"{kinds[kind]}, ε = {eps:g}" if eps else kind for kind, eps in rows]
    ax.set_yticks(range(len(rows)), names)
    legend_below(ax, columns=2)


def recorded_released(recorded: pd.DataFrame) -> None:
    """Fig. 10 as released: accuracy after the clamp alone, and with the perturbation."""
    [ax] = panel_row(height=3.8)
    ax.axhline(10, color="0.6", lw=1, ls=":", zorder=0, label="guessing among ten classes")
    epsilons = (0.0, *published.FIG10.index)
    models = (*VICTIMS, *TWINS)
    for group, eps in enumerate(epsilons):
        for number, model in enumerate(models):
            found = evidence.judged(recorded, "released", eps, model)
            place = group + 0.16 * (number - 2)
            mean_and_interval(ax, place, found, model, width=0.08)
            if eps and model in published.FIG10:
                star = PUBLISHED | {"color": PALETTE[model]}
                ax.plot([place - 0.05], [published.FIG10[model][eps]], **star)
            if not group:
                label = f"{NAMES[model]}, {seed_count(found)}"
                ax.plot([], [], ls="none", label=label, **look(model, 7))
    ax.plot([], [], label="published, in its model's colour", **PUBLISHED | {"color": "white"})
    names = [f"ε = {eps:g}" if eps else "clamp alone" for eps in epsilons]
    ax.set_xticks(range(len(epsilons)), names)
    ax.set(ylabel="accuracy (%)", title="recorded", ylim=(0, None))
    legend_below(ax, columns=2)
