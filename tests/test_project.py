"""The project's own files agree with each other."""

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent

# In pieces, so that this file does not contain what it looks for.
REGISTRY_HOSTS = tuple(
    ".".join(pieces)
    for pieces in (
        ("py" + "pi", "org"),
        ("python" + "hosted", "org"),
        ("npm" + "js", "org"),
        ("npm" + "js", "com"),
        ("deb", "deb" + "ian", "org"),
        ("download", "py" + "torch", "org"),
        ("conda", "ana" + "conda", "org"),
        ("repo", "ana" + "conda", "com"),
    )
)
HOME_FOLDER = re.compile(r"(?<![\w.~+/])/(?:home|Users|root)/\w")


def read_project() -> dict[str, Any]:
    """The project table of pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def read_dependencies() -> list[Requirement]:
    """What pyproject.toml asks for, all extras included."""
    project = read_project()
    lines = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        lines += extra
    return [Requirement(line) for line in lines]


def read_lock() -> dict[str, Version]:
    """The exact version of each package in requirements.txt, by normalized name."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def read_yaml(name: str) -> Any:
    """The content of a YAML file of the repository."""
    return yaml.safe_load((ROOT / name).read_text())


def tracked_text_files() -> list[tuple[str, str]]:
    """Path and content of each file under version control that is text."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    found = []
    for name in filter(None, listing.stdout.decode().split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in content:
            found.append((name, content.decode("utf-8", errors="replace")))
    return found


OTHERS = [dependency for dependency in read_dependencies() if dependency.name != "fmlib"]


@pytest.mark.parametrize("dependency", OTHERS, ids=lambda dependency: dependency.name)
def test_lock_has_a_version_that_each_dependency_accepts(dependency: Requirement) -> None:
    lock = read_lock()
    name = canonicalize_name(dependency.name)
    assert name in lock, f"{name} has no line in requirements.txt"
    assert dependency.specifier.contains(lock[name], prereleases=True)


def test_lock_is_sorted_and_names_each_package_once() -> None:
    lines = [
        line
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    names = [line.split("==")[0] for line in lines]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines)
    assert names == sorted(names, key=str.lower)
    assert len(read_lock()) == len(lines)


def test_locked_jupyter_book_reads_the_configuration() -> None:
    assert read_lock()["jupyter-book"] < Version("2")


def test_each_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    tables = re.search(r"^dependencies = \[.*?^\[project\.scripts\]", text, re.M | re.S)
    assert tables is not None
    lines = [line for line in tables.group().splitlines() if line.startswith('    "')]
    assert len(lines) == len(read_dependencies())
    assert [line for line in lines if not re.search(r'",\s+# \w', line)] == []


def test_conda_environment_takes_its_packages_from_the_lock() -> None:
    environment = read_yaml("environment.yml")
    from_conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    [from_pip] = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert from_conda == ["python=3.11", "pip"]
    assert from_pip == ["-r requirements.txt", "-e ."]


def test_citation_file_is_complete() -> None:
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    required = {"message", "title", "type", "authors", "version", "license"}
    assert required <= citation.keys()
    assert str(citation["version"]) == read_project()["version"]
    assert citation["preferred-citation"]["title"] == citation["title"]
    [paper] = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Anand",
        "Bhupathiraju",
        "Chandrala",
    ]
    assert paper["year"] == 2022


def test_modules_import_only_from_stages_before_their_own() -> None:
    lint_imports = Path(sysconfig.get_path("scripts")) / "lint-imports"
    run = subprocess.run([lint_imports], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_file_names_a_package_registry_or_a_home_folder() -> None:
    files = tracked_text_files()
    assert files
    hosts = [(name, host) for name, text in files for host in REGISTRY_HOSTS if host in text]
    homes = [(name, hit.group()) for name, text in files for hit in HOME_FOLDER.finditer(text)]
    assert hosts == []
    assert homes == []


@pytest.mark.parametrize(
    "left",
    [
        *("book/.fmlib-7.part", ".fmlib-7.part", "results/caching/.fmlib-7.part"),
        *("book/02_caching.failed.ipynb", "runs/a.ipynb"),
    ],
)
def test_what_runs_leave_behind_is_ignored(left: str) -> None:
    command = ["git", "check-ignore", "--quiet", left]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
