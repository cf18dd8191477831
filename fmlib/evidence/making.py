"""How records were made, and the benchmarks."""

import json
from pathlib import Path

import pandas as pd

from fmlib.experiments.grids import EXPERIMENTS
from fmlib.records import RESULTS, Provenance, read_all

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks" / "results.json"


def made(results: Path = RESULTS) -> pd.DataFrame:
    """How every record was made, a row each: experiment, machine, versions, times, commit."""
    rows = [
        {
            "experiment": experiment,
            "device": record.config.device,
            "precision": record.config.precision,
            "threads": record.config.threads,
            "label": record.config.label,
            "seed": record.config.seed,
            **record.provenance.model_dump(),
            "path": str(path),
        }
        for experiment in EXPERIMENTS
        for path, record in read_all(experiment, results).records.items()
    ]
    columns = ["experiment", "device", "precision", "threads", "label", "seed", "path"]
    return pd.DataFrame(rows, columns=[*columns, *Provenance.model_fields])


def benchmarks(path: Path = BENCHMARKS) -> pd.DataFrame:
    """Ratios of time and memory measured by `benchmarks`, a row each: name, ratio, low, high, n."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    found = [(row["name"], row["ratio"], *row["spread"], row["pairs"]) for row in rows]
    return pd.DataFrame(found, columns=["name", "ratio", "low", "high", "n"])
