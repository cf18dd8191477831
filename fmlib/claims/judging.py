"""What a claim is, and the evidence that claims are judged from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from fmlib import evidence
from fmlib.records import RESULTS
from fmlib.stats import Estimate, estimate
from fmlib.verdicts import Verdict


class Measured(NamedTuple):
    """One number behind a verdict: what it is, as published, as logged, as measured again.

    Its role: what is claimed (`effect`), the same against a control, or what else helps to
    read it (`context`).  `form` writes the number, by default points with their sign.  `runs`
    are the records that it could rest on, with whether each diverged, where some can.
    """

    quantity: str
    found: Estimate | None
    published: float | None = None
    logged: float | None = None
    role: Literal["effect", "control", "context"] = "effect"
    form: str = "+.1f"
    runs: frozenset[tuple[str, bool]] = frozenset()


Found = tuple[Verdict, list[Measured]]
"""A verdict and the numbers that it rests on."""


class Recorded:
    """All evidence, and which records have been used of it."""

    def __init__(self, results: Path = RESULTS) -> None:
        self.caching = evidence.rules(results)
        self.variants = evidence.caching_variants(results)
        self.depth = evidence.depth(results)
        self.further = evidence.further_training(results)
        self.ways = evidence.map_ways(results)
        self.robustness = evidence.robustness(results)
        self.attacks = evidence.attacks(results)
        self.exploration = evidence.exploration(results)
        self.embeddings = evidence.embeddings(results)
        self.stages = evidence.stages(results)
        self.evolution = evidence.evolution(results)
        self.evolution_looks = evidence.evolution_looks(results)
        self.seeing = evidence.seeing(results)
        self.convergence = evidence.map_convergence(results)
        self.seen_by_epoch = evidence.seen_by_epoch(results)
        self.probability = evidence.moved_probability(results)
        self.inverted = evidence.inverted(results)
        self.inversion = evidence.inversion(results)
        self.dissected = evidence.dissected(results)
        self.combined = evidence.combined(results)
        self.ablation = evidence.ablation(results)
        self.transfers = evidence.transfers(results)
        self.overlaps = evidence.overlaps(results)
        self.similarity = evidence.similarity(results)
        self.resnet = evidence.resnet_similarity(results)
        self.undefined = evidence.undefined_losses(results)
        self.benchmarks = evidence.benchmarks()
        self.used: set[str] = set()

    def rows(self, table: pd.DataFrame, **chosen: object) -> pd.DataFrame:
        """Rows of a table whose columns have these values; their records are noted as used."""
        for name, value in chosen.items():
            table = table[table[name] == value]
        self.used |= set(table["path"])
        return table

    def by_seed(self, table: pd.DataFrame, column: str, **chosen: object) -> dict[int, float]:
        """One number per seed (`fmlib.evidence.by_seed`), noted as used."""
        return evidence.by_seed(self.rows(table, **chosen), column)

    def ends(
        self, table: pd.DataFrame, column: str, **chosen: object
    ) -> frozenset[tuple[str, bool]]:
        """The records of these rows, and whether their training diverged: it left no number."""
        rows = self.rows(table, **chosen)
        return frozenset(zip(rows["path"], rows[column].isna().tolist(), strict=True))


PAPERS = ("anand2022", "punjabi2017", "masum2022", "belmekki2024")
"""The papers in the book's order."""


class Claim(NamedTuple):
    """A claim of the paper in our words, how it is judged, and what we say of it.

    `measure` says in short what the numbers are, `where` is the claim's place in the paper,
    `target` the label of the figure or table of the book that shows it, `rule` the rule in
    words, `text` what we make of it, written for `verdict`.  `why` says in a few words what the
    verdict rests on, where the numbers of the short table do not show it.
    """

    id: str
    words: str
    measure: str
    where: str
    chapter: str
    target: str
    rule: str
    judge: Callable[[Recorded], Found]
    verdict: Verdict
    text: str
    why: str = ""

    @property
    def paper(self) -> str:
        """The paper that says so; `where` names it unless it is anand2022."""
        named = self.where.split(",")[0]
        return named if named in PAPERS else "anand2022"


class Judgement(NamedTuple):
    """A claim, the verdict, the numbers that it rests on, and the records that they come from."""

    claim: Claim
    verdict: Verdict
    measured: list[Measured]
    records: list[str]


def mean_of(values: Mapping[int, float]) -> Estimate | None:
    """Estimate over seeds, None if there are none."""
    return estimate(list(values.values())) if values else None


def negative(found: Estimate | None) -> Estimate | None:
    """For a claim that something is small."""
    return found and found.negated


SLIGHT = 1.0
"""Points of accuracy: what we take for no difference."""

CONTROLLED = (
    "The interval of the difference from {} lies on the claimed side of zero; only partly if "
    "that of the difference from {} does not."
)
"""Rule of a claim that has a control."""
