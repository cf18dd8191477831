"""Recorded attacks (chapter 04)."""

from pathlib import Path
from typing import Any

import pandas as pd

from fmlib.evidence.reading import Rows, outcomes, table_of
from fmlib.experiments.adversarial_robustness import Attacks, AttacksRun, Robustness, RobustnessRun
from fmlib.experiments.feature_map_regularization import Model
from fmlib.records import RESULTS, Record


def robustness(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Fig. 10, a row per perturbation, eps and model (`victim`); accuracy in percent of n images.

    Without those that need a map model whose training diverged.  The perturbation `test` is
    none at all, of the test images.
    """
    columns = "perturbation eps victim n accuracy"
    return table_of("adversarial_robustness", _outcomes, columns, results, device)


def _outcomes(record: Record[RobustnessRun, Robustness]) -> Rows:
    config, result = record.config, record.result
    for victim in result.test_accuracy:
        clean = result.clean_accuracy("test", victim)
        test = {"perturbation": "test", "eps": 0.0, "victim": victim, "n": config.n_test}
        yield test | {"accuracy": clean}
        for outcome in result.outcomes:
            accuracy = result.accuracy(outcome.perturbation, outcome.eps, victim)
            row = {"perturbation": outcome.perturbation, "eps": outcome.eps, "victim": victim}
            yield row | {"n": outcome.n, "accuracy": accuracy}


def attacks(results: Path = RESULTS, device: str = "cpu") -> pd.DataFrame:
    """Attacks of models by themselves, a row per input scale, perturbation, eps and `victim`.

    Accuracy in percent of n images; of these the model gets `alone` right that the map model
    does not, and the map model `maps_alone` that the model does not.  Without numbers that need a
    model whose training diverged.  The perturbation `test` is none at all, of the test images.
    """
    columns = "input_scale perturbation eps victim n accuracy alone maps_alone"
    return table_of("attacks", _judgements, columns, results, device)


def _judgements(record: Record[AttacksRun, Attacks]) -> Rows:
    config, result = record.config, record.result
    for victim, clean in result.test_accuracy.items():
        shared = {"input_scale": config.input_scale, "victim": victim}
        known = victim not in result.divergences
        test = {"perturbation": "test", "eps": 0.0, "n": config.n_test}
        yield shared | test | {"accuracy": clean if known else None}
        for found in result.judgements:
            row: dict[str, Any] = {"perturbation": found.perturbation, "eps": found.eps}
            row |= {"n": found.n, "accuracy": found.accuracy[victim] if known else None}
            pairs: tuple[tuple[str, Model, Model], ...] = (
                ("alone", victim, "maps"),
                ("maps_alone", "maps", victim),
            )
            if victim != "maps" and not {victim, "maps"} & result.divergences.keys():
                row |= {name: found.only[one][other] for name, one, other in pairs}
            yield shared | row


def judged(
    table: pd.DataFrame, perturbation: str, eps: float, victim: str, column: str = "accuracy"
) -> dict[int, float | None]:
    """Accuracy of one model under a perturbation of `robustness`, by seed.

    Or another column; and so of `attacks`.
    """
    rows = table[(table["perturbation"] == perturbation) & (table["victim"] == victim)]
    return outcomes(rows[rows["eps"] == eps], column)
