"""Every chapter runs with a user's parameters, and gives the same digits on other kernels."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from fmlib.chapters import BOOK, CHAPTERS

pytestmark = pytest.mark.slow

Cells = list[dict[str, Any]]

# chapter, its parameters, and what the outputs have to say then
CASES: list[tuple[str, dict[str, object], list[str]]] = [
    (
        "exploration",
        {"dataset": "fashion-mnist", "classes": [0, 9]},
        ["Classes of fashion-mnist", "Ankle boot", "T-shirt/top"],
    ),
    (
        "caching",
        {"dataset": "fashion-mnist", "batch_size": 40, "batch_sizes": [50], "reading": "printed"},
        ["fashion-mnist (bundled subset): 200 training images", "| 50 "],
    ),
    (
        "caching",
        {"layer": "conv2", "n_train": 100, "seeds": 1, "batch_sizes": [25]},
        ["mnist (bundled subset): 100 training images", "n\u00a0=\u00a01: cached", "| 25 "],
    ),
    (
        "feature_map_regularization",
        {"networks": ["base_cnn"], "batch_sizes": [20], "epochs": [1], "map_epochs": [1]}
        | {"map_images": [10], "layer": "conv2", "nan_scales": ["standardized"]},
        ["mnist, batch 20, seed 1: 300 images more for each copy", "| standardized "],
    ),
    (
        "adversarial_robustness",
        {"dataset": "fashion-mnist", "epsilons": [0.1]},
        ["0 (clamp alone)", "FGSM by base model, ε = 0.1"],
    ),
]


def read(path: Path) -> Cells:
    """The code cells of a notebook, their source as one text."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells if "outputs" in cell]


def is_ignored(cell: dict[str, Any]) -> bool:
    """Whether the outputs of a cell are allowed to differ."""
    return "nbval-ignore-output" in cell["metadata"].get("tags", [])


def with_papermill(name: str, out: Path, parameters: dict[str, object]) -> None:
    """Run a chapter as its readers may do, without fmlib."""
    papermill.execute_notebook(
        CHAPTERS[name].path,
        out,
        parameters={"profile": "smoke", **parameters},
        cwd=BOOK,
        kernel_name="python3",
        progress_bar=False,
    )


@pytest.mark.parametrize(("name", "parameters", "words"), CASES)
def test_chapter_runs_with_other_parameters(
    name: str, parameters: dict[str, object], words: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.ipynb"
    with_papermill(name, out, parameters)
    cells = read(out)
    for cell in cells:
        kinds = [(o["output_type"], o.get("name")) for o in cell["outputs"]]
        assert set(kinds) <= {("stream", "stdout"), ("display_data", None)}, cell["source"]
        found = [kind for o in cell["outputs"] for kind in o.get("data", {})]
        assert ("image/png" in found) == ("figure" in cell["metadata"].get("mystnb", {}))
        assert ("text/markdown" in found) == ("tables.show(" in cell["source"])
    text = json.dumps([cell["outputs"] for cell in cells], ensure_ascii=False)
    assert [word for word in [*words, ":name: tab-"] if word not in text] == []


def test_impossible_value_stops_papermill_before_any_training(tmp_path: Path) -> None:
    out = tmp_path / "out.ipynb"
    with pytest.raises(PapermillExecutionError) as caught:
        with_papermill("feature_map_regularization", out, {"layer": "conv9"})
    assert caught.value.ename == "ValueError"
    assert "layer 'conv9' has no feature maps" in str(caught.value.evalue)
    [stopped] = [
        cell
        for cell in read(out)
        if any(output["output_type"] == "error" for output in cell["outputs"])
        and "papermill-error-cell-tag" not in cell["metadata"].get("tags", [])
    ]
    assert "chapters.settings(" in stopped["source"]
    executed = [cell for cell in read(out) if cell["execution_count"]]
    assert executed[-1]["source"] == stopped["source"]


# --- the same digits ---------------------------------------------------------------------

PLAIN_KERNELS = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}
TWO_THREADS = {"OMP_NUM_THREADS": "2"}


def python(environment: dict[str, str], *arguments: str) -> str:
    """What Python prints with the given settings of threads and kernels, and no others."""
    clean = {key: value for key, value in os.environ.items() if key not in PLAIN_KERNELS}
    run = subprocess.run(
        [sys.executable, *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def without_what_may_differ(path: Path) -> tuple[dict[str, Any], list[str]]:
    """A notebook without images and ignored outputs, and its images."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    images = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if is_ignored(cell):
                output.clear()
            elif "image/png" in output.get("data", {}):
                images.append(output["data"].pop("image/png"))
    return notebook, images


def test_threads_and_kernels_can_be_chosen() -> None:
    show = "import torch; print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())"
    assert python(PLAIN_KERNELS, "-c", show).split() == ["DEFAULT", "1"]
    assert python(TWO_THREADS, "-c", show).split()[1] == "2"


LOSSES = """
from fmlib import chapters
from fmlib.experiments import caching
settings = chapters.settings("caching", "smoke")
point = caching.Point(20, 3, seed=0, test_every_epoch=False)
run = caching.train_once(settings, settings.load(), point, settings.cache_config())
for epoch in run.history.epochs:
    print(f"{epoch.loss:.8e}", epoch.trained, *(f"{x:.8e}" for x in epoch.policy["threshold"]))
"""


def test_losses_agree_to_more_digits_than_single_precision_has() -> None:
    found = python(PLAIN_KERNELS, "-c", LOSSES)
    assert len(found.splitlines()) == 3
    assert python(TWO_THREADS, "-c", LOSSES) == found


@pytest.mark.parametrize("name", ["caching", "adversarial_robustness"])
def test_digits_do_not_depend_on_threads_and_kernels(name: str, tmp_path: Path) -> None:
    run = ["-m", "fmlib", "run", name, "-p", "profile", "smoke", "-p", "seeds", "1", "--out"]
    python(PLAIN_KERNELS, *run, str(tmp_path / "plain.ipynb"))
    python(TWO_THREADS, *run, str(tmp_path / "native.ipynb"))
    plain, plain_images = without_what_may_differ(tmp_path / "plain.ipynb")
    native, native_images = without_what_may_differ(tmp_path / "native.ipynb")
    pairs = zip(plain["cells"], native["cells"], strict=True)
    assert [(a, b) for a, b in pairs if a != b] == []
    assert plain == native
    compared = [cell for cell in plain["cells"] if cell.get("outputs") and not is_ignored(cell)]
    assert len(compared) >= 5
    assert len(plain_images) == len(native_images) >= 2
    differing = sum(a != b for a, b in zip(plain_images, native_images, strict=True))
    print(f"{name}: {differing} of {len(plain_images)} images differ in their bytes")


def written(notebook: dict[str, Any]) -> str:
    """A notebook as `fmlib run` writes it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


@pytest.mark.parametrize("name", ["exploration", "feature_map_regularization"])
def test_two_runs_write_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Images included; only what a cell marks as not reproducible, such as times, may differ."""
    found = []
    for number in range(2):
        out = tmp_path / f"{number}.ipynb"
        python(TWO_THREADS, "-m", "fmlib", "run", name, "-p", "profile", "smoke", "--out", str(out))
        notebook = json.loads(out.read_text(encoding="utf-8"))
        assert out.read_bytes() == written(notebook).encode()
        found.append(notebook)
    for first, second in zip(*(notebook["cells"] for notebook in found), strict=True):
        if "outputs" in first and is_ignored(first):
            first["outputs"] = second["outputs"]
    assert written(found[0]) == written(found[1])
