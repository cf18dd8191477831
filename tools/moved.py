"""What moved between two runs of the book: outputs that differ, and versions unlike the lock.

    python -m tools.moved BEFORE AFTER

compares the notebooks of two folders and prints a report in Markdown.  It ends with status 1 if an
output differs that should not.  Pictures are counted only: fonts alone change their bytes.
"""

import json
import sys
from collections.abc import Iterator
from difflib import unified_diff
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

LOCK = Path(__file__).parent.parent / "requirements.txt"
SHOWN = 40
"""Lines of a difference that are shown at most."""


class Moved(NamedTuple):
    """How a cell's outputs differ: the lines of the difference; none if only its picture does."""

    cell: int
    code: str
    lines: list[str]


def _texts(cell: dict[str, Any]) -> list[str]:
    """The lines that a cell has put out, pictures aside."""
    found: list[list[str]] = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        found += [output[key] for key in ("text", "traceback") if key in output]
        found += [data[kind] for kind in sorted(data) if kind.startswith("text/")]
    return "\n".join("".join(text) for text in found).splitlines()


def _pictures(cell: dict[str, Any]) -> list[str]:
    found = [output.get("data", {}) for output in cell["outputs"]]
    return ["".join(data["image/png"]) for data in found if "image/png" in data]


def _code_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def compare(before: Path, after: Path) -> Iterator[Moved]:
    """Cells of a notebook whose outputs differ; those marked as not reproducible are left out."""
    pairs = zip(_code_cells(before), _code_cells(after), strict=True)
    for number, (old, new) in enumerate(pairs):
        code = "".join(new["source"])
        if "nbval-ignore-output" in new["metadata"].get("tags", []):
            continue
        lines = list(unified_diff(_texts(old), _texts(new), lineterm="", n=0))[2:]
        if lines or _pictures(old) != _pictures(new):
            yield Moved(number, code.splitlines()[-1] if code else "", lines)


def unlike_the_lock(lock: Path = LOCK) -> Iterator[str]:
    """Packages whose installed version is not that of the lock: name, locked, installed."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        name, _, locked = line.partition("==")
        if not locked:
            continue
        try:
            installed = version(name).partition("+")[0]
        except PackageNotFoundError:
            installed = "none"
        if installed != locked:
            yield f"| {name} | {locked} | {installed} |"


def report(before: Path, after: Path) -> tuple[str, bool]:
    """The report, and whether a text or number moved."""
    parts, moved = ["# What moved"], False
    for path in sorted(before.glob("*.ipynb")):
        if not (after / path.name).is_file():
            parts.append(f"## {path.name}\n\nThere is no new run of it.")
            moved = True
            continue
        cells = list(compare(path, after / path.name))
        pictures = sum(not cell.lines for cell in cells)
        parts.append(f"## {path.name}\n\n{len(cells) - pictures} outputs, {pictures} pictures.")
        for cell in cells:
            if cell.lines:
                moved = True
                shown = "\n".join(cell.lines[:SHOWN])
                parts.append(f"Code cell {cell.cell}, `{cell.code}`:\n\n```diff\n{shown}\n```")
    if versions := "\n".join(unlike_the_lock()):
        parts.append(f"# Versions\n\n| Package | Locked | Here |\n|:---|:---|:---|\n{versions}")
    return "\n\n".join(parts) + "\n", moved


def main() -> int:
    """Compare the two folders named on the command line."""
    text, moved = report(*map(Path, sys.argv[1:3]))
    sys.stdout.write(text)
    return int(moved)


if __name__ == "__main__":
    sys.exit(main())
