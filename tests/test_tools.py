"""What maintainers run: the report of what moved, the PDF, the workflows."""

import json
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from pypdf import PdfReader

from tests import browsing, website
from tests.website import ROOT
from tools import moved, pdf

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def cell(*outputs: dict[str, Any], source: str = "show()", tags: tuple[str, ...] = ()) -> Any:
    """A code cell with its outputs."""
    metadata = {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "source": [source], "metadata": metadata, "outputs": outputs}


def said(text: str) -> dict[str, Any]:
    """An output that a cell printed."""
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def shown(**data: str) -> dict[str, Any]:
    """An output that a cell displayed, by kind."""
    return {
        "output_type": "display_data",
        "data": {k.replace("_", "/"): v for k, v in data.items()},
    }


def write(folder: Path, *cells: Any) -> Path:
    """A notebook in a folder of its own."""
    folder.mkdir()
    (folder / "a.ipynb").write_text(json.dumps({"cells": cells}))
    return folder


# --- what moved --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected", "status"),
    [
        (cell(said("1\n2\n")), cell(said("1\n2\n")), "0 outputs, 0 pictures", False),
        (cell(said("1\n2\n")), cell(said("1\n3\n")), "1 outputs, 0 pictures", True),
        (cell(said("1\n")), cell(), "1 outputs", True),
        (
            cell(shown(text_markdown="| 1 |")),
            cell(shown(text_markdown="| 2 |")),
            "```diff\n@@ -1 +1 @@\n-| 1 |\n+| 2 |\n```",
            True,
        ),
        (cell(shown(image_png="a")), cell(shown(image_png="b")), "0 outputs, 1 pictures", False),
        (
            cell(said("1"), tags=("nbval-ignore-output",)),
            cell(said("2"), tags=("nbval-ignore-output",)),
            "0 outputs, 0 pictures",
            False,
        ),
    ],
)  # fmt: skip
def test_outputs_that_differ_are_reported(
    old: Any, new: Any, expected: str, status: bool, tmp_path: Path
) -> None:
    text, found = moved.report(write(tmp_path / "old", old), write(tmp_path / "new", new))
    assert expected in text
    assert found == status


def test_notebook_that_was_not_run_again_is_reported(tmp_path: Path) -> None:
    before = write(tmp_path / "old", cell(said("1")))
    (tmp_path / "new").mkdir()
    text, found = moved.report(before, tmp_path / "new")
    assert "There is no new run of it." in text
    assert found


def test_committed_notebooks_have_not_moved_against_themselves() -> None:
    text, found = moved.report(ROOT / "book", ROOT / "book")
    assert not found
    assert text.count("0 outputs, 0 pictures.") == len(list((ROOT / "book").glob("*.ipynb"))) >= 7


def test_versions_unlike_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    here = version("numpy")
    lock.write_text(f"# a comment\nnumpy=={here}\npandas==0.1\nno-such-package==1.0\n")
    assert list(moved.unlike_the_lock(lock)) == [
        f"| pandas | 0.1 | {version('pandas')} |",
        "| no-such-package | 1.0 | none |",
    ]


# --- the PDF -----------------------------------------------------------------------------


def test_pdf_says_in_one_line_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"^.* lacks book/intro\.html: run `make book` first$"):
        pdf.make(tmp_path, tmp_path / "book.pdf")
    monkeypatch.setattr(pdf, "WRITTEN", [])
    monkeypatch.setattr(browsing, "PROGRAMS", ())
    with pytest.raises(ValueError, match=r"^no Chrome or Chromium is installed.*PDF of them$"):
        pdf.make(tmp_path, tmp_path / "book.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_pdf_holds_pages_in_order_and_no_path_of_this_machine(
    html: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if browsing.find_browser() is None:
        pytest.skip(browsing.NO_BROWSER)
    chosen = ["book/intro.html", "book/glossary.html"]
    monkeypatch.setattr(pdf, "WRITTEN", chosen)
    target = tmp_path / "book.pdf"
    pdf.make(html, target)
    assert [path.name for path in tmp_path.iterdir()] == ["book.pdf"]
    reader = PdfReader(target)
    titles = [str(item["/Title"]) for item in reader.outline if isinstance(item, dict)]
    assert titles[0] == "Feature maps, run again"
    assert titles[1].endswith("Glossary")
    text = "\n".join(page.extract_text() for page in reader.pages)
    assert text.index("Three questions") < text.index("gradient masking")
    assert b"file:" not in target.read_bytes()


# --- workflows ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_asks_for_few_rights_and_runs_steps_that_exist(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for job in workflow["jobs"].values():
        assert all(set(step) & {"uses", "run"} for step in job["steps"])
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", name) for name in used)
        for step in job["steps"]:
            for target in re.findall(r"^make (\w+)", step.get("run", ""), re.M):
                assert re.search(rf"^{target}: ", makefile, re.M), target


def test_pages_workflow_names_the_repository_in_the_configuration(tmp_path: Path) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/pages.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["build"]["steps"]
    [command] = [step["run"] for step in steps if "sed" in step.get("run", "")]
    config = tmp_path / "_config.yml"
    config.write_text((ROOT / "_config.yml").read_text(encoding="utf-8"), encoding="utf-8")
    names = ("SERVER_URL", "https://github.com"), ("REPOSITORY", "a/b"), ("REF_NAME", "live")
    environment = {f"GITHUB_{name}": value for name, value in names} | {"PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=environment, check=True)
    found = yaml.safe_load(config.read_text(encoding="utf-8"))
    before = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert found == before | {"repository": {"url": "https://github.com/a/b", "branch": "live"}}


def test_dependabot_keeps_pytorch_together_and_the_book_below_version_2() -> None:
    settings = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))
    pip, actions = settings["updates"]
    assert (pip["package-ecosystem"], actions["package-ecosystem"]) == ("pip", "github-actions")
    assert pip["groups"]["pytorch"]["patterns"] == ["torch", "torchvision"]
    assert pip["ignore"] == [{"dependency-name": "jupyter-book", "versions": [">=2"]}]


# --- buttons -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("host", ["https://github.com", "https://gitlab.com"])
def test_buttons_appear_once_the_repository_has_an_address(host: str, tmp_path: Path) -> None:
    """A book of two pages, so that it is built fast; its links to the other ones lead nowhere."""
    website.copy_book(tmp_path)
    config = tmp_path / "_config.yml"
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub(r"^  url:.*", f"  url: {host}/a/b", text, flags=re.M))
    toc = "format: jb-book\nroot: book/references\nchapters:\n  - file: book/use_it\n"
    (tmp_path / "_toc.yml").write_text(toc)
    built, _ = website.build(tmp_path)
    pages = dict(website.pages(built))
    links = {
        name: {
            website.attribute(link, "href")
            for link in pages[built / "book" / f"{name}.html"].select(".article-header-buttons a")
        }
        for name in ("references", "use_it")
    }
    for name, file in (("references", "references.md"), ("use_it", "use_it.ipynb")):
        assert f"{host}/a/b" in links[name]
        assert any("/issues/new?" in link for link in links[name])
        assert any(link.endswith(f"/edit/main/book/{file}") for link in links[name])
    launched = {link.split("/")[2] for link in links["use_it"] if "use_it.ipynb" in link}
    assert "mybinder.org" in launched
    assert ("colab.research.google.com" in launched) == ("github" in host)
    assert not [link for link in links["references"] if "binder" in link]
    for page in pages.values():
        assert not [a for a in website.loaded_addresses(page) if website.is_remote(a)]
