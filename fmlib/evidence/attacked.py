"""Recorded attacks (chapter 04)."""

from pathlib import Path

import pandas as pd

from fmlib.evidence.reading import Rows, outcomes, table_of
from fmlib.experiments.adversarial_robustness import Robustness, RobustnessRun
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


def judged(
    table: pd.DataFrame, perturbation: str, eps: float, victim: str
) -> dict[int, float | None]:
    """Accuracy of one model under a perturbation of `robustness`, by seed."""
    rows = table[(table["perturbation"] == perturbation) & (table["victim"] == victim)]
    return outcomes(rows[rows["eps"] == eps], "accuracy")
