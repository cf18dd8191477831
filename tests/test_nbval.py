"""The committed chapters hold what nbval compares, and nbval notices a changed digit."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmlib import chapters
from fmlib.chapters import CHAPTERS

Cells = list[dict[str, Any]]


def read_code(path: Path) -> Cells:
    """The code cells of a notebook that are not empty."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]


def is_compared(cell: dict[str, Any]) -> bool:
    """Whether nbval compares the outputs of a cell."""
    return "nbval-ignore-output" not in cell["metadata"].get("tags", [])


# --- the committed chapters --------------------------------------------------------------


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_is_committed_with_the_outputs_of_one_whole_run(name: str) -> None:
    cells = read_code(CHAPTERS[name].path)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert [output for output in outputs if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_has_numbers_to_compare(name: str) -> None:
    compared = [cell for cell in read_code(CHAPTERS[name].path) if is_compared(cell)]
    texts = [
        "".join(output.get("text", output.get("data", {}).get("text/markdown", "")))
        for cell in compared
        for output in cell["outputs"]
    ]
    assert len([text for text in texts if re.search(r"\d", text)]) >= 2


@pytest.mark.parametrize("name", CHAPTERS)
def test_few_cells_are_left_out_of_the_comparison(name: str) -> None:
    left_out = [cell for cell in read_code(CHAPTERS[name].path) if not is_compared(cell)]
    assert len(left_out) <= 2
    for cell in left_out:  # instead of being compared they check a range
        assert re.search(r"^assert ", "".join(cell["source"]), re.M)


# --- what a changed number does ----------------------------------------------------------


def nbval(notebook: Path) -> tuple[int, str]:
    """Exit status and report of nbval on one notebook."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env"]
    options = ["-p", "no:cacheprovider", "-o", "addopts=", "-o", "filterwarnings=default"]
    run = subprocess.run(
        [*command, *options, notebook.name],
        cwd=notebook.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chapter 03 at smoke size, as `fmlib run` writes it."""
    out = tmp_path_factory.mktemp("nbval") / "chapter.ipynb"
    chapters.execute("feature_map_regularization", {"profile": "smoke", "seeds": 1}, out)
    return out


@pytest.mark.slow
def test_nbval_accepts_an_executed_chapter(executed: Path) -> None:
    status, report = nbval(executed)
    assert status == 0, report
    assert f"{len(read_code(executed))} passed" in report


@pytest.mark.slow
def test_nbval_names_the_cell_of_a_changed_digit(executed: Path) -> None:
    notebook = json.loads(executed.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    number = next(i for i, c in enumerate(code) if '"tab-fig9"' in "".join(c["source"]))
    [output] = code[number]["outputs"]
    text = "".join(output["data"]["text/markdown"])
    last = list(re.finditer(r"\d(?=\s*\|$)", text, re.M))[-1]  # last digit of a table's row
    changed = (int(last[0]) + 1) % 10
    output["data"]["text/markdown"] = f"{text[: last.start()]}{changed}{text[last.end() :]}"
    altered = executed.with_name("altered.ipynb")
    altered.write_text(json.dumps(notebook), encoding="utf-8")
    status, report = nbval(altered)
    assert status == 1, report
    assert re.findall(r"^FAILED (\S+::Cell \d+)", report, re.M) == [f"altered.ipynb::Cell {number}"]
    assert f"{len(code) - 1} passed" in report
