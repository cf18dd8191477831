"""Sphinx extension: figures that answer.

A figure of a notebook may carry data beside its picture (see `fmlib.interactive`).  This extension
puts them on the page as JSON, which no browser runs, and loads the script that reads them there.
"""

import json
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.typing import ExtensionMetadata

MIME = "application/vnd.fmlib.interactive"
MARKUP = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})
CLASS = "interactive-data"


def as_script(figure: str, text: str) -> str:
    """Data as a script that is not run, for the figure of that id."""
    data = json.dumps(json.loads(text), separators=(",", ":")).translate(MARKUP)
    return f'<script type="application/json" data-figure="{escape(figure)}">{data}</script>'


def take_data(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take the data out of a notebook, since what reads notebooks does not know their type."""
    if MIME not in source[0] or not str(app.env.doc2path(docname)).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    found = app.env.temp_data["interactive"] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).pop(MIME, None)
            if text is not None:
                found[figure_id(cell)] = "".join(text)
    source[0] = json.dumps(notebook)


def figure_id(cell: dict[str, Any]) -> str:
    """The id that the figure of a cell will have."""
    name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
    if name is None:
        raise ExtensionError(f"cell {cell.get('id')} has interactive data, but its figure no name")
    return str(nodes.make_id(name))


def add_data(app: Sphinx, doctree: nodes.document) -> None:
    """Put the data behind their figures."""
    found: dict[str, str] = app.env.temp_data.pop("interactive", {})
    for figure in list(doctree.findall(nodes.figure)):
        for name in found.keys() & set(figure["ids"]):
            data = nodes.raw("", as_script(name, found[name]), format="html", classes=[CLASS])
            figure.parent.insert(figure.parent.index(figure) + 1, data)


def load_script(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Load script and style on the pages that have such figures."""
    if doctree and any(CLASS in node["classes"] for node in doctree.findall(nodes.raw)):
        app.add_js_file("interactive.js", loading_method="defer")
        app.add_css_file("interactive.css")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the steps."""
    app.connect("source-read", take_data)
    app.connect("doctree-read", add_data)
    app.connect("html-page-context", load_script)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
