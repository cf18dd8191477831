"""The command line: `python -m benchmarks [--short] [--only NAME ...] [--out DIR]`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm

from benchmarks import report
from benchmarks.cases import FULL, SHORT
from benchmarks.report import Results
from benchmarks.rows import Spec, specs

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def measure(
    short: Annotated[
        bool, typer.Option("--short", help="Few images and one pair: shows that it runs.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="A row to renew; may be given several times.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: benchmarks/ and the book.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of PyTorch; 0: its default.")] = 0,
) -> None:
    """Measure all rows, or some; each is merged into earlier results as soon as it is done."""
    if short and out is None:
        raise ValueError("--short measures nothing to be kept; say where it goes with --out")
    chosen = [spec for spec in specs(only or []) if spec.in_short or not short]
    folder = out or report.FOLDER
    results = report.read(folder / "results.json")
    if threads:
        torch.set_num_threads(threads)
    try:
        for grown in _measured(chosen, results, short):
            results = grown
            report.write(results, folder)
    finally:  # the page shows what there is, also when a later row was interrupted
        if results.rows:
            report.write_page(results, report.PAGE_FOLDER if out is None else folder / "page")


def _measured(chosen: list[Spec], results: Results, short: bool) -> Iterator[Results]:
    """The results with one more of the chosen rows after the other."""
    with tqdm(total=sum(1 if short else spec.pairs for spec in chosen), unit="pair") as bar:
        for spec in chosen:
            bar.set_description(spec.name)
            pairs = 1 if short else spec.pairs
            row = report.measure(spec, SHORT if short else FULL, pairs, bar.update)
            bar.write(f"{row.name}: {row.ratio:.3f} (must reach: {row.bound})")
            results = report.merge(results, [row])
            yield results


def main(arguments: list[str] | None = None) -> None:
    """Entry point: a mistake, or data that is not there, is answered by one sentence."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(given, prog_name="benchmarks", standalone_mode=False)
    except typer.TyperException as error:
        status = _fail(error.format_message())
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        status = _fail(error)
    sys.exit(status)


def _fail(error: object) -> int:
    print("benchmarks:", " ".join(str(error).split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
