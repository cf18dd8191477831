"""Sphinx extension: pages that screen readers understand, where the tools that write them fail."""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.typing import ExtensionMetadata

# What to write in the place of markup that says the wrong thing to a screen reader.
MENDED = {
    # Docutils' role of an entry of the references is deprecated and, in their list, an error.
    'role="doc-biblioentry"': 'role="listitem"',
    # A name in the place of the words to be seen, "Show code cell source", which say more.
    '<summary aria-label="Toggle hidden content">': "<summary>",
}


# Sphinx's list of parameters, one a line: definitions of nothing.
PARAMETERS = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*</dd>\n)+)</dl>')


def mend_roles(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Give screen readers the roles and names of what is there."""
    body = context.get("body", "")
    for wrong, right in MENDED.items():
        body = body.replace(wrong, right)
    context["body"] = PARAMETERS.sub(_as_lines, body)


def _as_lines(parameters: re.Match[str]) -> str:
    lines = parameters[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">{lines}</span>'


def drop_second_search(app: Sphinx, config: Config) -> None:
    """Leave out the theme's bar above the page: it holds one more field for searching."""
    config.html_theme_options["navbar_persistent"] = []


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the steps."""
    app.connect("config-inited", drop_second_search)
    app.connect("html-page-context", mend_roles)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
