"""The papers' main claims: in our words, with a rule, and the verdict that the records give.

One module per chapter lists its claims and their rules.  A claim's text was written for one
verdict; a test fails when the records say another.
"""

from pathlib import Path

from fmlib.claims import (
    ablation,
    adversarial_robustness,
    caching,
    exploration,
    feature_evolution,
    feature_map_regularization,
    inside,
    seeing,
    similarity,
)
from fmlib.claims.judging import PAPERS, Claim, Judgement, Measured, Recorded
from fmlib.records import RESULTS

__all__ = ["CLAIMS", "PAPERS", "Claim", "Judgement", "Measured", "judge"]

CLAIMS = (
    *exploration.CLAIMS,
    *caching.CLAIMS,
    *feature_map_regularization.CLAIMS,
    *adversarial_robustness.CLAIMS,
    *feature_evolution.CLAIMS,
    *seeing.CLAIMS,
    *inside.CLAIMS,
    *ablation.CLAIMS,
    *similarity.CLAIMS,
)
"""In the order of the papers and, of each paper, in its own."""


def judge(chapter: str | None = None, results: Path = RESULTS) -> list[Judgement]:
    """The verdicts that the records give on all claims, or on those of one chapter."""
    recorded, found = Recorded(results), []
    for claim in CLAIMS:
        if chapter in (None, claim.chapter):
            recorded.used = set()
            verdict, measured = claim.judge(recorded)
            found.append(Judgement(claim, verdict, measured, sorted(recorded.used)))
    return found
