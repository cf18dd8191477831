"""Sphinx extension: the reference is made of the docstrings, and shows the source beside them.

Docstrings put names and values between single backticks.  What of it is a name that the reference
describes becomes a link; the rest is shown as code.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata

EXTENSIONS = ("sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode")

# A type with the limits that its values are checked for.
CHECKED = re.compile(r"~?[\w.]*Annotated\[(.+?), ~?[\w.]+\(.*?\)\](?=[ ,)])")

SETTINGS: dict[str, Any] = {
    "default_role": "py:obj",
    "autodoc_member_order": "bysource",
    "autodoc_default_options": {"no-value": True},  # of a function it would be an address
    "autodoc_preserve_defaults": True,  # a default is shown as it is written
    "python_maximum_signature_line_length": 68,
    "napoleon_numpy_docstring": False,
    "napoleon_use_ivar": True,  # pydantic's fields are described once, with their class
    "napoleon_use_param": False,  # several parameters may share a description
    "add_module_names": False,
    "html_domain_indices": False,  # its table of modules has no heads, and says nothing new
    "viewcode_follow_imported_members": False,  # a type's alias belongs to us, not to Python
    "nitpick_ignore_regex": [
        # Types of other packages are named without a link: their references are on other servers.
        ("py:exc", r"BrokenExecutor"),
        ("py:class", r"(collections|numpy|pathlib|pydantic|torch)\..*"),
        # What a recorded run is made of is the experiments' own, which the reference leaves out.
        ("py:class", r"fmlib\.experiments\..*|fmlib\.records\.(Config|Outcome)"),
        ("py:class", r"fmlib\.visualization\.evolution\.Seen"),
    ],
}


def set_up(app: Sphinx, config: Config) -> None:
    """Describe things in the order of the source, in the style of our docstrings."""
    for name, value in SETTINGS.items():
        setattr(config, name, value)


def simplify_signature(
    app: Sphinx,
    what: str,
    name: str,
    described: object,
    options: dict[str, Any],
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None] | None:
    """Leave out what readers need not know: checks of a setting's value, a protocol's makings."""
    if getattr(described, "_is_protocol", False):
        return "", None
    if signature is None or "Annotated[" not in signature:
        return None
    return re.sub(CHECKED, r"\1", signature), returned


def leave_out(
    app: Sphinx, what: str, name: str, described: object, skip: bool, options: dict[str, Any]
) -> bool | None:
    """Leave out members that only the libraries behind our classes have named."""
    text = getattr(described, "__doc__", None) or ""
    return True if name == "model_config" or text.startswith("Alias for field number") else None


def show_as_code(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, shown: nodes.TextElement
) -> nodes.TextElement | None:
    """Show what stands between single backticks and is not described as code, without a link."""
    return shown if node.get("refdomain") == "py" and node.get("reftype") == "obj" else None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the steps."""
    for extension in EXTENSIONS:
        app.setup_extension(extension)
    app.connect("config-inited", set_up, priority=100)
    app.connect("autodoc-process-signature", simplify_signature)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("missing-reference", show_as_code)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
