"""Whatever is killed, and whenever: what earlier runs left stays as it was, to the byte."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmlib import chapters

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


def hear_interrupts() -> None:
    """Undo what a shell does to jobs in its background: they and their children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return as soon as something is true; fail if that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def snapshot(*places: Path) -> dict[str, bytes]:
    """Content of all files in some folders, or of single files."""
    files = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


# --- fmlib run ---------------------------------------------------------------------------

# `fmlib run` with another folder of notebooks; at the moment named, it leaves a sign and waits.
RUN = """
import sys, time
from pathlib import Path
from fmlib import chapters, cli

folder, moment = Path(sys.argv[1]), sys.argv[2]
chapters.BOOK = folder / "book"

def pause(*_, **__):
    (folder / "sign").touch()
    time.sleep(60)

if moment == "start":
    chapters.settings = pause
if moment == "end":
    Path.replace = pause
cli.main(["run", "caching", "-p", "profile", "smoke", "--out", str(folder / "runs/out.ipynb")])
"""
# A chapter that shows that it is alive ten times a second.
CELLS = """
import os, time
from pathlib import Path

here = Path({folder!r})
for beat in range({beats}):
    (here / "beat").write_text(str(beat))
    (here / "sign").touch()
    time.sleep(0.1)
print("whole")
"""


def write_chapter(folder: Path, beats: int) -> None:
    """Write a chapter 02 that runs for some tenths of a second."""
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": CELLS.format(folder=str(folder), beats=beats),
    }
    parameters = {**cell, "id": "b", "metadata": {"tags": ["parameters"]}, "source": "profile = ''"}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": [parameters, cell], "metadata": {"kernelspec": kernel}}
    (folder / "book").mkdir(exist_ok=True)
    text = json.dumps(notebook | {"nbformat": 4, "nbformat_minor": 5})
    (folder / "book" / "02_caching.ipynb").write_text(text)


@pytest.mark.parametrize("moment", ["start", "cell", "end"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_killing_a_run_leaves_earlier_ones_whole(
    number: signal.Signals, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chapter(tmp_path, beats=1 if moment == "end" else 600)
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "out.ipynb").write_text("an earlier run")
    (runs / "out.failed.ipynb").write_text("an earlier failure")
    earlier = snapshot(runs, tmp_path / "book")

    command = [sys.executable, "-c", RUN, str(tmp_path), moment]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=environment, preexec_fn=hear_interrupts
    )
    sign = tmp_path / ("beat" if moment == "cell" else "sign")
    if moment == "end":  # the chapter's own sign comes first
        wait_for(lambda: list(runs.glob(".fmlib-*.part")))
    wait_for(sign.exists)
    process.send_signal(number)
    out, error = process.communicate(timeout=60)

    assert out == ""
    assert error == ""
    expected = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    assert process.returncode == expected[number]
    left = snapshot(runs, tmp_path / "book")
    parts = [file for file in left if Path(file).suffix == ".part"]
    assert len(parts) == (moment == "end" and number == signal.SIGKILL)
    assert {file: left[file] for file in left if file not in parts} == earlier
    if moment == "cell":
        assert_stops(tmp_path / "beat")

    write_chapter(tmp_path, beats=1)
    monkeypatch.setattr(chapters, "BOOK", tmp_path / "book")
    chapters.execute("caching", {"profile": "smoke"}, runs / "out.ipynb")
    assert '"whole\\n"' in (runs / "out.ipynb").read_text()
    assert (runs / "out.failed.ipynb").read_text() == "an earlier failure"


def assert_stops(beat: Path) -> None:
    """The chapter's own process ends soon, although nobody waits for it."""

    def is_still() -> bool:
        before = beat.read_text()
        time.sleep(0.5)
        return beat.read_text() == before

    wait_for(is_still, 10)


def test_killing_the_write_of_the_readme_leaves_it_whole(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    shutil.copyfile(ROOT / "README.md", readme)
    earlier = readme.read_bytes()
    code = f"""
import os, signal
from pathlib import Path
from fmlib import chapters
chapters.README = Path({str(readme)!r})
chapters.headline = lambda: "new"
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
chapters.write_headline()
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert readme.read_bytes() == earlier
    subprocess.run([sys.executable, "-c", code.replace("SIGKILL", "SIGCONT")], check=True)


# --- make book, make chapters ------------------------------------------------------------

# Stands in for Python: `fmlib run`, the folder of scripts, the README's table.
PAUSE = """#!/bin/sh
pause() {
    touch sign
    for beat in $(seq 600); do echo "$beat" > beat; sleep 0.1; done
}
"""
PYTHON = """
case "$*" in
*sysconfig*) dirname "$0"; exit;;
*write_headline*) step=headline target=README.md;;
*) step=$4 target=$6;;
esac
if [ "$FAIL" = "$step" ]; then exit 1; fi
printf half > "$target.part"
if [ "$SLOW" = "$step" ]; then pause; fi
echo "new $step" > "$target.part"
mv "$target.part" "$target"
"""
JUPYTER_BOOK = """
mkdir -p "$2/_build/html"
test -z "$(find "$2" -name '.*')" || exit 1
cat "$2"/book/*.ipynb > "$2/_build/html/page.html"
if [ "$SLOW" = pages ]; then pause; fi
echo new > "$2/_build/html/index.html"
"""
NAMES = [path.stem for path in sorted((ROOT / "book").glob("*.ipynb"))]
NUMBER = re.compile(r"^\d\d_")
"""What a chapter's file has before the name that `fmlib run` knows."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the Makefile, stand-ins for programs, a book and its earlier pages."""
    for name, text in (("python", PYTHON), ("jupyter-book", JUPYTER_BOOK)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(PAUSE + text)
        program.chmod(0o755)
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "book" / ".02_caching-killed").mkdir(parents=True)
    (tmp_path / "book" / ".02_caching-killed" / "draft.ipynb").write_text("half")
    (tmp_path / "book" / ".fmlib-1.part").write_text("half")
    for name in NAMES:
        (tmp_path / "book" / f"{name}.ipynb").write_text("old")
    for name in ("_config.yml", "_toc.yml", "README.md"):
        (tmp_path / name).write_text("old")
    (tmp_path / "_build" / "html").mkdir(parents=True)
    for name in ("index.html", "page.html"):
        (tmp_path / "_build" / "html" / name).write_text("old")
    return tmp_path


def make(checkout: Path, target: str, **environment: str) -> "subprocess.Popen[bytes]":
    """Start make in a process group of its own."""
    python = f"PY={checkout / 'bin' / 'python'}"
    return subprocess.Popen(
        ["make", target, python, "JOBS=2"],
        cwd=checkout,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def results(checkout: Path) -> dict[str, bytes]:
    """What earlier runs left."""
    return snapshot(checkout / "book", checkout / "_build" / "html", checkout / "README.md")


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGKILL, False),
        (signal.SIGKILL, True),
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGINT, True),  # as a terminal sends it
    ],
)
@pytest.mark.parametrize(
    ("target", "step"),
    [
        ("book", "exploration"),
        ("book", "adversarial_robustness"),
        ("book", "pages"),
        ("chapters", "exploration"),
        ("chapters", "adversarial_robustness"),
    ],
)
def test_killing_make_leaves_book_and_pages_whole(
    target: str, step: str, number: signal.Signals, group: bool, checkout: Path
) -> None:
    earlier = results(checkout)
    process = make(checkout, target, SLOW=step)
    wait_for((checkout / "beat").exists)
    (os.killpg if group else os.kill)(process.pid, number)
    assert process.wait(60) != 0
    assert results(checkout) == earlier
    if number == signal.SIGKILL and not group:  # its children live on, and do no harm
        os.killpg(process.pid, signal.SIGKILL)
    assert_stops(checkout / "beat")
    assert results(checkout) == earlier
    assert_renews(checkout, target)


def test_killing_make_while_it_writes_the_table_leaves_new_chapters_and_a_whole_readme(
    checkout: Path,
) -> None:
    process = make(checkout, "chapters", SLOW="headline")
    wait_for((checkout / "beat").exists)
    process.terminate()
    assert process.wait(60) != 0
    assert_stops(checkout / "beat")
    assert (checkout / "README.md").read_text() == "old"
    assert {path.read_text()[:3] for path in (checkout / "book").glob("*.ipynb")} == {"new"}
    assert_renews(checkout, "chapters")


def assert_renews(checkout: Path, target: str) -> None:
    """The next run succeeds."""
    assert make(checkout, target).wait(60) == 0
    pages, book = checkout / "_build" / "html", checkout / "book"
    if target == "book":
        assert (pages / "index.html").read_text() == "new\n"
        assert (pages / "page.html").read_text().count("new") == len(NAMES)
        assert not (checkout / "_build" / "replaced").exists()
    else:
        for name in NAMES:
            assert (book / f"{name}.ipynb").read_text() == f"new {NUMBER.sub('', name)}\n"
        assert (checkout / "README.md").read_text() == "new headline\n"


@pytest.mark.parametrize("target", ["book", "chapters"])
def test_a_chapter_that_fails_stops_neither_the_others_nor_harms_what_there_was(
    target: str, checkout: Path
) -> None:
    earlier = results(checkout)
    assert make(checkout, target, FAIL="exploration").wait(60) != 0
    assert results(checkout) == earlier
    made = checkout / "_build" / ("source/book" if target == "book" else "chapters")
    new = [path for path in made.glob("*.ipynb") if path.read_text().startswith("new")]
    assert len(new) == len(NAMES) - 1
    assert_renews(checkout, target)


def test_pages_whose_replacement_was_interrupted_come_back(checkout: Path) -> None:
    """Between two renamings the earlier pages lie beside their place."""
    pages = checkout / "_build" / "html"
    earlier = snapshot(pages)
    pages.rename(checkout / "_build" / "replaced")
    assert make(checkout, "book", FAIL="exploration").wait(60) != 0
    assert snapshot(pages) == earlier
    assert_renews(checkout, "book")


def test_clean_removes_what_killed_runs_left(checkout: Path) -> None:
    (checkout / "book" / "02_caching.failed.ipynb").write_text("half")
    (checkout / ".fmlib-2.part").write_text("half")
    for folder in ("fmlib", "benchmarks", "tests", "tools", "results/caching"):
        (checkout / folder).mkdir(parents=True)
    (checkout / "results" / "caching" / ".fmlib-3.part").write_text("half")
    assert make(checkout, "clean").wait(60) == 0
    places = (checkout, checkout / "book", checkout / "results" / "caching")
    left = {path.name for place in places for path in place.iterdir()}
    assert [name for name in left if ".part" in name or "failed" in name] == []
    assert {f"{name}.ipynb" for name in NAMES} <= left
