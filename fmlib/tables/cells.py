"""What all tables are made of: numbers of live and of recorded runs as text, and their display.

A live number over several seeds reads "mean (lowest-highest)", a recorded one "mean (low to
high)", its 95 % interval; the number of seeds stands in the heading, or in a column where rows
differ.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import pandas as pd
from IPython.display import Markdown, display

from fmlib import evidence, stats


def show(table: pd.DataFrame, caption: str, name: str) -> None:
    """Display a table with caption and label as Markdown of the book.

    The cell needs the metadata `mystnb: {markdown_format: myst}`.
    """
    display(Markdown(f":::{{table}} {caption}\n:name: {name}\n\n{markdown(table)}\n:::"))


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; lines may break between a number and its range, not within a range."""
    text = table.to_markdown(index=False, disable_numparse=True)
    return re.sub(r"\([−+\d][^()|]*\)|\bn = \d", _unbroken, text)


def _unbroken(found: re.Match[str]) -> str:
    return found[0].replace(" ", "\N{NO-BREAK SPACE}")


def written(value: float, form: str) -> str:
    """A number with the sign that typesetting has for numbers below zero; zero has no minus."""
    sign, rest = ("+", form[1:]) if form.startswith("+") else ("", form)
    return format(value, f"{sign}z{rest}").replace("-", "−")


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Mean and range of one value per seed; a single value stands alone, none is a dash."""
    known = list(values)
    if not known:
        return "–"
    mean, low, high = (written(x, f",.{digits}f") for x in (fmean(known), min(known), max(known)))
    return mean if len(known) == 1 else f"{mean} ({low}–{high})"


def finished(values: Sequence[float | None], digits: int = 1) -> str:
    """As `spread`, over the runs that did not diverge (None), with the count of those that did."""
    known = [value for value in values if value is not None]
    diverged = len(values) - len(known)
    note = f" {diverged} of {len(values)} diverged" if diverged else ""
    return spread(known, digits) + note


def interval(outcomes: evidence.Outcomes, digits: int = 1, sign: str = "") -> str:
    """Mean and 95 % bootstrap interval over the recorded runs that did not diverge.

    A single value stands alone, none is a dash; `sign` is "+" for differences.
    """
    known, form = evidence.finished(outcomes), f"{sign},.{digits}f"
    if not known:
        return "–"
    # Rounded twice, since the last bit of a mean may differ between processors.
    mean, low, high, *_ = (written(round(x, 9), form) for x in stats.estimate(known))
    return mean if len(known) == 1 else f"{mean} ({low} to {high})"


def middle(outcomes: evidence.Outcomes, digits: int = 1, sign: str = "") -> str:
    """Median over the recorded runs that did not diverge; a dash if there are none."""
    known = evidence.finished(outcomes)
    return written(round(median(known), 9), f"{sign},.{digits}f") if known else "–"


def recorded_in(outcomes: evidence.Outcomes) -> str:
    """Heading of a recorded column, with the number of seeds."""
    return f"Recorded, n = {evidence.counted(outcomes)}"


def seed_counts(outcomes: Iterable[evidence.Outcomes]) -> str:
    """Numbers of seeds of a row's columns, one if they agree."""
    counts = [evidence.counted(one) for one in outcomes]
    return ", ".join(counts if len(set(counts)) > 1 else counts[:1])


def stated(outcomes: evidence.Outcomes, digits: int = 1, sign: str = "") -> str:
    """As `interval`, with the number of seeds beside it."""
    text = interval(outcomes, digits, sign)
    return f"{text}, n = {evidence.counted(outcomes)}" if outcomes else text


def difference(values: Sequence[float | None], reference: Sequence[float | None]) -> str:
    """Mean and range of paired differences with their sign; pairs that diverged are counted."""
    pairs = list(zip(values, reference, strict=True))
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    diverged = len(pairs) - len(differences)
    note = f" ({diverged} of {len(pairs)} diverged)" if diverged else ""
    if not differences:
        return f"–{note}"
    known = fmean(differences), min(differences), max(differences)
    mean, low, high = (written(x, "+.1f") for x in known)
    return (mean if len(differences) == 1 else f"{mean} ({low} to {high})") + note


def number(value: float | None, form: str) -> str:
    """One number, or a dash where there is none."""
    return "–" if value is None else written(value, form)


def this_run(n: int) -> str:
    """Heading of the columns that were computed live, with the number of seeds."""
    return f"This run, n = {n}"


def frame(items: Iterable[Any], columns: Mapping[str, Callable[[Any], str]]) -> pd.DataFrame:
    """One row per item, one column per heading with what its function says of the item."""
    return pd.DataFrame([{head: say(item) for head, say in columns.items()} for item in items])


def summary(rows: Sequence[tuple[str, str, str, str, str]]) -> pd.DataFrame:
    """What a chapter comes to: quantity, published, authors' log, recorded, this run."""
    columns = ["Quantity", "Published", "Authors' log", "Recorded", "This run"]
    return pd.DataFrame(rows, columns=columns)


def plain_text(text: str) -> str:
    """Text from outside, such as a folder's name, with nothing that Markdown would interpret."""
    return "".join(c if c.isalnum() or c in " -,/'()" else f"&#{ord(c)};" for c in text)


def listed(values: Iterable[object]) -> str:
    """One value per seed, side by side; none is a dash."""
    return ", ".join(map(str, values)) or "–"
