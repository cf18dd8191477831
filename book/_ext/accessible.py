"""Sphinx extension: pages that screen readers understand, where the tools that write them fail."""

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


def mend_roles(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Give screen readers the roles and names of what is there."""
    for wrong, right in MENDED.items():
        context["body"] = context.get("body", "").replace(wrong, right)


def drop_second_search(app: Sphinx, config: Config) -> None:
    """Leave out the theme's bar above the page: it holds one more field for searching."""
    config.html_theme_options["navbar_persistent"] = []


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the steps."""
    app.connect("config-inited", drop_second_search)
    app.connect("html-page-context", mend_roles)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
