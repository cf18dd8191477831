"""Claims with their verdicts, and how the records were made, as tables and text of the book."""

from collections.abc import Callable, Sequence
from math import isnan

import pandas as pd
from IPython.display import Markdown, display

from fmlib.claims import Judgement, Measured
from fmlib.stats import Estimate
from fmlib.tables.cells import markdown, written


def recorded(found: Estimate | None, form: str = ".1f") -> str:
    """A recorded number: mean, 95 % interval, and n; a dash where nothing is recorded."""
    if found is None:
        return "–"
    mean, low, high = (written(x, form) for x in (found.mean, found.low, found.high))
    return f"{mean}, n = 1" if found.n == 1 else f"{mean} ({low} to {high}), n = {found.n:,}"


def verdicts(judged: Sequence[Judgement]) -> pd.DataFrame:
    """Every claim with published and recorded numbers, its control, and the verdict.

    Where a claim has several cases, such as batch sizes, the range of their means stands.
    """
    return pd.DataFrame(
        {
            "Claim": f"{j.claim.words} *({j.claim.measure})*",
            "Published": _known([(m.published, m.form) for m in j.measured]),
            "Authors' log": _known([(m.logged, m.form) for m in j.measured]),
            "Recorded": _found([m for m in j.measured if m.role == "effect"]),
            "Control": _found([m for m in j.measured if m.role == "control"]),
            "Verdict": f"**{j.verdict}**",
        }
        for j in judged
    )


def _found(measured: Sequence[Measured]) -> str:
    known = [m for m in measured if m.found is not None]
    if len(known) == 1:
        return recorded(known[0].found, known[0].form)
    return _known([(m.found and m.found.mean, m.form) for m in known])


def _known(numbers: Sequence[tuple[float | None, str]]) -> str:
    known = [(value, form) for value, form in numbers if value is not None]
    if not known:
        return "–"
    (low, form), (high, _) = min(known), max(known)
    one, other = written(low, form), written(high, form)
    if len(known) == 1:
        return one
    return f"{one if one == other else f'{one} to {other}'}, {len(known)} cases"


def measured(judged: Judgement) -> pd.DataFrame:
    """The numbers behind one verdict."""
    columns: dict[str, Callable[[Measured], str]] = {
        "Quantity": lambda m: ("" if m.role == "effect" else f"*{m.role}:* ") + m.quantity,
        "Published": lambda m: _known([(m.published, m.form)]),
        "Authors' log": lambda m: _known([(m.logged, m.form)]),
        "Recorded": lambda m: recorded(m.found, m.form),
        "Effect size": lambda m: _effect_size(m.found),
    }
    return pd.DataFrame([{head: say(m) for head, say in columns.items()} for m in judged.measured])


def _effect_size(found: Estimate | None) -> str:
    return "–" if found is None or isnan(found.effect) else written(found.effect, "+.1f")


def show_claims(judged: Sequence[Judgement]) -> None:
    """Display claims one after the other: words, rule, numbers, verdict, and their records."""
    display(Markdown("\n\n".join(map(_claim, judged))))


def _claim(judged: Judgement) -> str:
    claim = judged.claim
    files = "\n".join(f"- {{download}}`{path} <../results/{path}>`" for path in judged.records)
    return (
        f"(claim-{claim.id})=\n"
        f"**{claim.words}** ({claim.where}; {{numref}}`{claim.target}`)\n\n"
        f"*Rule.* {claim.rule}\n\n"
        f":::{{table}} Numbers behind this claim.\n:name: tab-claim-{claim.id}\n\n"
        f"{markdown(measured(judged))}\n:::\n\n"
        f"*Verdict:* **{judged.verdict}.** {claim.text}\n\n"
        + (f":::{{dropdown}} Records used: {len(judged.records)}\n{files}\n:::" if files else "")
    )


def recordings(made: pd.DataFrame) -> pd.DataFrame:
    """What was recorded: runs, hours of computing, days, by experiment."""
    rows = [
        {
            "Experiment": experiment,
            "Runs": str(len(group)),
            "Seeds": str(group["seed"].nunique()),
            "Precision": ", ".join(sorted(group["precision"].unique())),
            "Hours of computing": f"{group['wall_seconds'].sum() / 3600:.1f}",
            "First day": group["started"].min()[:10],
            "Last day": group["started"].max()[:10],
        }
        for experiment, group in made.groupby("experiment", sort=False)
    ]
    return pd.DataFrame(rows)


def machines(made: pd.DataFrame) -> pd.DataFrame:
    """Where the records were made: processor, system, versions, and the state of the code."""
    versions = [", ".join(f"{k} {v}" for k, v in row.items()) for row in made["versions"]]
    keys = [made["processor"], made["system"], pd.Series(versions, made.index)]
    rows = [
        {
            "Processor": processor,
            "System": system,
            "Versions": version,
            "Runs": str(len(group)),
            "Commits": ", ".join(sorted({str(commit)[:7] for commit in group["commit"]})),
            "Code as committed": f"{int(group['clean_tree'].sum())} of {len(group)}",
        }
        for (processor, system, version), group in made.groupby(keys, dropna=False)
    ]
    return pd.DataFrame(rows)
