"""The reference describes every public name, and its helpers do what they say."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fmlib
from tests import website
from tests.website import ROOT, attribute

PUBLIC = {
    name: f"{value.__module__}.{name}" if hasattr(value, "__name__") else f"fmlib.caching.{name}"
    for name, value in vars(fmlib).items()
    if not name.startswith("_") and not isinstance(value, ModuleType)
}
"""The public names of the package, and where each is described."""


def extension(name: str) -> Any:
    """A Sphinx extension of the book."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_first_page_of_the_reference_lists_every_public_name_once() -> None:
    text = (ROOT / "book" / "reference" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \{py:\w+\}`~(fmlib\.[\w.]+)` \| \w.* \|$", text, re.M)
    assert len(PUBLIC) > 25
    assert sorted(listed) == sorted(PUBLIC.values())


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("(a: int = 1)", "(a: int = 1)"),
        ("(*, a: Annotated[int, Ge(ge=1)] = 10, b: str)", "(*, a: int = 10, b: str)"),
        ("(a: ~types.Annotated[int | None, ~x.Ge(ge=1)] = None)", "(a: int | None = None)"),
        (
            "(a: Annotated[float, Gt(gt=0), AllowInfNan(allow_inf_nan=False)] = 0.01)",
            "(a: float = 0.01)",
        ),
    ],
)
def test_signatures_show_types_without_the_checks_of_values(signature: str, expected: str) -> None:
    found = extension("reference").simplify_signature(None, "", "", None, {}, signature, None)
    assert (found or (signature,))[0] == expected


@pytest.mark.parametrize(
    ("address", "shown", "launched"),
    [
        ("", False, set()),
        ("https://github.com/a/b", True, {"binderhub_url", "colab_url"}),
        ("https://gitlab.com/a/b", True, {"binderhub_url"}),
    ],
)
def test_buttons_are_set_by_the_address_of_the_repository(
    address: str, shown: bool, launched: set[str]
) -> None:
    class Config:
        html_theme_options: dict[str, Any] = {  # noqa: RUF012
            "repository_url": address,
            "launch_buttons": {"binderhub_url": "b", "colab_url": "c"},
        }

    offline = extension("offline")
    offline.set_repository_buttons(None, Config)
    options = Config.html_theme_options
    assert {options[name] for name in offline.REPOSITORY_BUTTONS} == {shown}
    assert set(options["launch_buttons"]) == launched


def test_boxes_to_cite_hold_the_paper_and_this_version() -> None:
    companion = (ROOT / "book" / "companion.bib").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    number = re.search(r"^version: (.*)$", citation, re.M)
    year = re.search(r"year: (\d+)", citation)
    assert number is not None
    assert year is not None
    assert f"Version {number[1]}." in companion
    assert f"{{{year[1]}}}" in companion
    assert "Feature maps, run again" in companion
    paper = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    assert paper.startswith("@misc{anand2022,")
    assert paper.split("@inproceedings{punjabi2017")[0].count("@") == 1


@pytest.mark.slow
def test_public_names_are_described_with_their_code(html: Path) -> None:
    described = {
        attribute(tag, "id"): tag
        for path, page in website.pages(html / "book" / "reference")
        for tag in page.select("dt.sig")
    }
    assert set(PUBLIC.values()) <= set(described)
    functions = [name for name in PUBLIC.values() if not name.split(".")[-1].isupper()]
    for name in functions:
        [link] = [a for a in described[name].find_all("a") if "source" in a.get_text()]
        file, _, place = attribute(link, "href").partition("#")
        assert (html / "book" / "reference" / file).is_file()
        assert place == name.split(".", 2)[2]


@pytest.mark.slow
def test_glossary_explains_what_the_first_page_links_to(html: Path) -> None:
    pages = {path.name: page for path, page in website.pages(html / "book")}
    links = {
        attribute(a, "href") for a in pages["intro.html"].select("a[href*='glossary.html#term-']")
    }
    assert len(links) >= 5
    terms = {attribute(dt, "id") for dt in pages["glossary.html"].select("dl.glossary dt")}
    assert {link.split("#")[1] for link in links} <= terms
    for word in ("FGSM", "PGD", "twin", "white-box", "transfer", "interval", "control", "energy"):
        assert f"term-{word}" in terms


def test_parameters_of_a_signature_are_lines_and_no_list_of_definitions() -> None:
    one = '<dd><em class="sig-param"><span class="n">{}</span></em>,</dd>\n'
    other = '<dl class="field-list simple">\n<dd>text</dd>\n</dl>'
    context = {"body": f"<dt>f(\n<dl>\n{one.format('a')}{one.format('b')}</dl>\n)</dt>{other}"}
    extension("accessible").mend_roles(None, "", "", context, None)
    assert context["body"].count("<dl") == context["body"].count("</dl") == 1
    assert context["body"].count('<span class="sig-line"><em class="sig-param">') == 2
    assert other in context["body"]
