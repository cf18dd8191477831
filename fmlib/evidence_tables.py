"""Claims with their verdicts, and how the records were made, as tables and text of the book."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf, isnan
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from fmlib.claims import Claim, Judgement, Measured
from fmlib.experiments.grids import EXPERIMENTS
from fmlib.records import RESULTS, read_all
from fmlib.stats import Estimate
from fmlib.tables.cells import markdown, written
from fmlib.verdicts import Verdict


def recorded(one: Measured) -> str:
    """A recorded number: mean, 95 % interval, and n; a dash where nothing is recorded.

    Runs that diverged are counted.
    """
    found, form, lost = one.found, one.form, _diverged([one])
    if found is None:
        return f"–{lost}"
    # Rounded twice, since the last bit of a mean may differ between processors.
    mean, low, high = (written(round(x, 9), form) for x in (found.mean, found.low, found.high))
    between = f" ({low} to {high})" if found.n > 1 else ""
    return f"{mean}{between}, n = {found.n:,}{lost}"


def _diverged(measured: Sequence[Measured]) -> str:
    """How many of the runs diverged, each counted once; nothing if none did."""
    runs = frozenset[tuple[str, bool]]().union(*(one.runs for one in measured))
    lost = sum(diverged for _, diverged in runs)
    return f" ({lost} of {len(runs)} diverged)" if lost else ""


def verdicts(judged: Sequence[Judgement], links: bool = False) -> pd.DataFrame:
    """Every claim with published and recorded numbers, its control, and the verdict.

    What the authors' log says of the same stands behind the published number.  Where a claim has
    more than two cases, such as batch sizes, the range of their means stands.  With `links` to
    its figure or table and to the numbers and records behind it.
    """
    return pd.DataFrame(
        {
            "Claim": f"{j.claim.words} *({j.claim.measure})*" + (_links(j.claim) if links else ""),
            "Published": _published(j.measured),
            "Recorded": _found([m for m in j.measured if m.role == "effect"]),
            "Control": _found([m for m in j.measured if m.role == "control"]),
            "Verdict": f"**{j.verdict}**" + (f": {j.claim.why}" if j.claim.why else ""),
        }
        for j in judged
    )


def _published(measured: Sequence[Measured]) -> str:
    printed = _known([(m.published, m.form) for m in measured])
    logged = _known([(m.logged, m.form) for m in measured if m.role != "context"])
    return printed if logged == "–" else f"{printed}; log: {logged}"


def _links(claim: Claim) -> str:
    return f" {{numref}}`{claim.target}`, [records](#claim-{claim.id})"


def tally(judged: Sequence[Judgement]) -> str:
    """How many claims have which verdict, in a sentence."""
    found = Counter(j.verdict for j in judged)
    counts = [f"{found[verdict]} {verdict}" for verdict in Verdict if found[verdict]]
    return f"Of {len(judged)} claims: {', '.join(counts)}."


def _found(measured: Sequence[Measured]) -> str:
    known = [m for m in measured if m.found is not None]
    if known and len(measured) <= 2:
        return "; ".join(map(recorded, measured))
    cases = _known([(m.found and m.found.mean, m.form) for m in measured], len(measured))
    return cases + _diverged(measured)


def _known(numbers: Sequence[tuple[float | None, str]], cases: int = 0) -> str:
    """A number, or the range of several; of so many cases, if some have none."""
    known = [(value, form) for value, form in numbers if value is not None]
    if not known:
        return "–"
    (low, form), (high, _) = min(known), max(known)
    one, other = written(round(low, 9), form), written(round(high, 9), form)
    between = one if one == other else f"{one} to {other}"
    if len(known) < cases:
        return f"{between}, {len(known)} of {cases} cases"
    return between if len(known) == 1 else f"{between}, {len(known)} cases"


def measured(judged: Judgement) -> pd.DataFrame:
    """The numbers behind one verdict."""
    columns: dict[str, Callable[[Measured], str]] = {
        "Quantity": lambda m: ("" if m.role == "effect" else f"*{m.role}:* ") + m.quantity,
        "Published": lambda m: _known([(m.published, m.form)]),
        "Authors' log": lambda m: _known([(m.logged, m.form)]),
        "Recorded": recorded,
        "Median": lambda m: _median(m.found, m.form),
        "Effect size": lambda m: _effect_size(m.found),
    }
    return pd.DataFrame([{head: say(m) for head, say in columns.items()} for m in judged.measured])


def _median(found: Estimate | None, form: str) -> str:
    return "–" if found is None or isnan(found.median) else written(round(found.median, 9), form)


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


def configurations(results: Path = RESULTS) -> pd.DataFrame:
    """What was run: the settings of every experiment, and those that its runs differ in.

    Without the runs in double precision that check this package, where there are others.
    """
    rows = []
    for experiment in EXPERIMENTS:
        found = read_all(experiment, results).records.values()
        single = [record for record in found if record.config.precision == "float32"]
        configs = [record.config.model_dump() for record in single or found]
        if configs:
            settings = {name: {_setting(c[name]) for c in configs} for name in configs[0]}
            text = "; ".join(
                f"{name} {', '.join(sorted(values, key=_order))}"
                for name, values in settings.items()
                if name != "seed" and values != {""}
            )
            rows.append({"Experiment": experiment, "Settings": text})
    return pd.DataFrame(rows, columns=["Experiment", "Settings"])


def _setting(value: object) -> str:
    """A setting of a run as text; nothing for what is too long to read, such as a whole cache."""
    return "" if value is None or isinstance(value, dict | list | tuple) else str(value)


def _order(value: str) -> tuple[float, str]:
    return (float(value), "") if value.replace(".", "").isdigit() else (inf, value)


def recordings(made: pd.DataFrame) -> pd.DataFrame:
    """What was recorded: runs, hours of computing, days, by experiment."""
    rows = [
        {
            "Experiment": experiment,
            "Runs": str(len(group)),
            "Seeds": str(group["seed"].nunique()),
            "Precision": ", ".join(sorted(group["precision"].unique())),
            "Hours of computing": f"{group['cpu_seconds'].sum() / 3600:.1f}",
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
