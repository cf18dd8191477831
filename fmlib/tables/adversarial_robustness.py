"""Tables of chapter 04."""

from collections.abc import Iterable
from itertools import product
from typing import Literal, get_args

import pandas as pd

from fmlib import evidence, published, stats
from fmlib.experiments.adversarial_robustness import (
    FGSM_ON,
    PGD_ON,
    STRONGEST,
    TWIN_NAMES,
    VICTIMS,
    Own,
    Perturbation,
    Robustness,
    SignOfMasking,
    Victim,
)
from fmlib.experiments.feature_map_regularization import MODEL_NAMES, MODELS, Model
from fmlib.tables.cells import (
    difference,
    finished,
    interval,
    listed,
    number,
    recorded_in,
    seed_counts,
    spread,
    stated,
    summary,
    this_run,
)

VICTIM_NAMES: dict[Victim, str] = {
    **{model: MODEL_NAMES[model] for model in VICTIMS},
    **TWIN_NAMES,
}
"""Models that perturbations are tried on; the twins, base models of other seeds, are recorded."""
EPSILONS = (0.05, 0.15, 0.25)
"""Largest changes of a pixel in the recorded runs."""
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
ON_EACH: tuple[Perturbation, ...] = ("sign noise", "fgsm on base", "own fgsm", *STRONGEST)
OWN_ATTACKS: tuple[tuple[Perturbation, float], ...] = (
    ("unchanged", 0.0),
    *product(ON_EACH, (0.15, 0.25)),
)
"""Perturbations, with eps, that tables show of recorded attacks of models by themselves."""
SIGNS_OF_MASKING: dict[SignOfMasking, str] = {
    "iterated": "one path of PGD (a) is weaker than FGSM (b)",
    "transfer": "FGSM by itself (a) is weaker than FGSM by another model (b)",
    "gradient-free": "PGD with restarts (a) is weaker than the Square Attack (b)",
    "no gradient": "images without a gradient (a; b is none)",
    "eps 1": "FGSM at ε = 1 (a) leaves more than chance (b)",
    "eps 1 iterated": "PGD with restarts at ε = 1 (a) leaves more than chance (b)",
}


def clean_accuracy(runs: list[Robustness], chance: float, recorded: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in percent of the models on unchanged images."""
    n, rows = this_run(len(runs)), []
    for model, name in VICTIM_NAMES.items():
        full = [evidence.judged(recorded, kind, 0.0, model) for kind in ("test", "unchanged")]
        row = {"Model": name, "n": evidence.counted(full[0])}
        row["Recorded: test"], row["Recorded: held-out"] = map(interval, full)
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
                number(known, ".2f"),
                evidence.counted(full),
                interval(full),
                finished(ours),
            )
        )
    columns = ["ε", "Model", "Published", "n", "Recorded", this_run(len(runs))]
    return pd.DataFrame(rows, columns=columns)


def attacks(runs: list[Robustness]) -> pd.DataFrame:
    """Accuracy in percent under one proper step on [0, 1], by whose gradient it uses."""
    return _perturbed(runs, ["sign noise", *(FGSM_ON[model] for model in VICTIMS)])


def recorded_attacks(recorded: pd.DataFrame, kind: Literal["FGSM", "PGD"]) -> pd.DataFrame:
    """Accuracy in percent of every model on images perturbed by every model's gradient.

    A dagger marks the models that are attacked by their own.  Where a model diverged there are
    no numbers in its row and none in its column.
    """
    sources: dict[str, str] = {"sign noise": "random sign noise"} if kind == "FGSM" else {}
    by = FGSM_ON if kind == "FGSM" else PGD_ON
    sources |= {by[source]: f"{kind} by {name}" for source, name in VICTIM_NAMES.items()}
    known = {v: recorded_in(evidence.judged(recorded, "unchanged", 0.0, v)) for v in VICTIM_NAMES}
    table = []
    for (perturbation, name), eps in product(sources.items(), EPSILONS):
        row = {"Perturbation": name if eps == EPSILONS[0] else "", "ε": f"{eps:g}"}
        for model, judged in VICTIM_NAMES.items():
            full = evidence.judged(recorded, perturbation, eps, model)
            mark = " †" if perturbation == by[model] and full else ""
            row[f"{known[model]}: {judged}"] = interval(full, digits=0) + mark
        table.append(row)
    return pd.DataFrame(table)


def recorded_own_attacks(recorded: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in percent of base model and copies, each attacked by itself.

    With random signs, and with the base model's FGSM, which attacks the copies from outside.
    """
    known = {m: recorded_in(evidence.judged(recorded, "unchanged", 0.0, m)) for m in MODELS}
    return pd.DataFrame(
        _attack(recorded, kind, eps)
        | {
            f"{known[model]}: {name}": interval(evidence.judged(recorded, kind, eps, model))
            for model, name in MODEL_NAMES.items()
        }
        for kind, eps in OWN_ATTACKS
    )


def _attack(recorded: pd.DataFrame, kind: Perturbation, eps: float) -> dict[str, str]:
    """Cells that say what a recorded row is about: perturbation, eps, number of images."""
    counts = recorded[recorded["perturbation"] == kind]["n"].unique().tolist()
    images = listed(f"{count:,}" for count in sorted(counts))
    return {"Perturbation": PERTURBATION_NAMES[kind], "ε": f"{eps:g}", "Images": images}


def recorded_own_differences(recorded: pd.DataFrame) -> pd.DataFrame:
    """Map model minus base model and minus each control, in points, paired by seed."""
    table = []
    for kind, eps in OWN_ATTACKS:
        maps = evidence.judged(recorded, kind, eps, "maps")
        found = {
            name: evidence.differences(maps, evidence.judged(recorded, kind, eps, model))
            for model, name in MODEL_NAMES.items()
            if model != "maps"
        }
        row = _attack(recorded, kind, eps) | {"n": seed_counts(found.values())}
        gains = {f"Recorded: − {name}": interval(gain, sign="+") for name, gain in found.items()}
        table.append(row | gains)
    return pd.DataFrame(table)


def recorded_paired_images(recorded: pd.DataFrame, other: Model = "base") -> pd.DataFrame:
    """Images that only the map model or only another one gets right, seed by seed.

    In the last column the seeds in which McNemar's exact p is below 0.05, by who is ahead.
    """
    table = []
    for kind, eps in OWN_ATTACKS:
        alone, maps_alone = (
            evidence.finished(evidence.judged(recorded, kind, eps, other, column))
            for column in ("alone", "maps_alone")
        )
        pairs = [(int(one), int(maps)) for one, maps in zip(alone, maps_alone, strict=True)]
        sure = [maps > one for one, maps in pairs if stats.mcnemar(one, maps) < 0.05]
        ahead = f"{other} {len(sure) - sum(sure)}, maps {sum(sure)}, of {len(pairs)}"
        table.append(
            _attack(recorded, kind, eps)
            | {
                f"Recorded: only {MODEL_NAMES[other]} right": listed(one for one, _ in pairs),
                f"only {MODEL_NAMES['maps']} right": listed(maps for _, maps in pairs),
                "p < 0.05, by who is ahead (seeds)": ahead if pairs else "–",
            }
        )
    return pd.DataFrame(table)


def own_attacks(runs: list[Robustness]) -> pd.DataFrame:
    """Accuracy in percent of each model under attacks on itself, on the same images."""
    return _perturbed(runs, get_args(Own))


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
                    "Images": listed(sorted({f"{o.n:,}" for o in found})),
                    "Only base right": listed(o.only_base for o in found),
                    "Only maps right": listed(o.only_maps for o in found),
                    "p": listed("<0.001" if x < 0.001 else f"{x:.3f}" for x in p),
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
            name = PERTURBATION_NAMES[kind]
            place = f"Fig. 10, {name}" if released else name
            quantity = f"{place}, {detail}: map − base model (points)"
            known = (published.FIG10["maps"] - published.FIG10["base"]).get(eps)
            maps, base = ([run.accuracy(kind, eps, m) for run in runs] for m in ("maps", "base"))
            full = [
                evidence.judged(
                    recorded, PGD_ON[model] if kind == "own restarts" else kind, eps, model
                )
                for model in ("maps", "base")
            ]
            change = stated(evidence.differences(*full), sign="+")
            ours = f"{difference(maps, base)}, n = {len(runs)}"
            rows.append((quantity, number(known if released else None, "+.2f"), "–", change, ours))
    return summary(rows)
