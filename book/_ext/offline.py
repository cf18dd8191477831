"""Sphinx extension: pages that need no network.

Jupyter Book's pages fetch MathJax from a server and carry scripts for running cells on another
one.  This extension puts MathJax beside the pages and leaves those scripts out.  It also shows
the buttons that lead to the repository, and those that open a notebook on Binder or Colab, exactly
if `_config.yml` gives the repository's address: they make no sense without one.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.typing import ExtensionMetadata

# What pages load of MathJax: TeX in, HTML out, and MathML for screen readers.  Its bundles hold
# 0.4 MB more for a menu that makes every formula a stop of the tab key.
MATHJAX_COMPONENTS = ("core", "input/tex", "output/chtml", "a11y/assistive-mml")
# With the program that loads them, the fonts, and the TeX packages that formulas ask for.
MATHJAX_PARTS = (
    "startup.js",
    *(f"{name}.js" for name in MATHJAX_COMPONENTS),
    "output/chtml/fonts",
    "input/tex/extensions",
)
REPOSITORY_BUTTONS = ("use_repository_button", "use_edit_page_button", "use_issues_button")


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Copy the parts of MathJax that the pages use to `_static/mathjax`."""
    if exception is not None or app.builder.format != "html":
        return
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("sphinx-mathjax-offline is missing: run `make env`")
    source = Path(package.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / part, target / part)


def drop_thebe(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Leave out the scripts of thebe, which would run cells on a server."""
    context["script_files"] = [
        script for script in context.get("script_files", []) if not _belongs_to_thebe(script)
    ]


def _belongs_to_thebe(script: Any) -> bool:
    body = getattr(script, "attributes", {}).get("body") or ""
    return "thebe" in str(getattr(script, "filename", script)).lower() or "THEBE" in body


def set_mathjax(app: Sphinx, config: Config) -> None:
    """Have pages load the parts of MathJax that they use."""
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = {"loader": {"load": list(MATHJAX_COMPONENTS)}}


def set_repository_buttons(app: Sphinx, config: Config) -> None:
    """Show the buttons to the repository if its address is known, and only then."""
    options = config.html_theme_options
    address = options.get("repository_url") or ""
    options.update(dict.fromkeys(REPOSITORY_BUTTONS, bool(address)))
    launch = options.get("launch_buttons", {}) if address else {}
    if "github.com" not in address:  # Colab opens nothing else
        launch = {key: value for key, value in launch.items() if key != "colab_url"}
    options["launch_buttons"] = launch


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the steps."""
    app.connect("config-inited", set_mathjax, priority=100)  # MyST adds to these settings
    app.connect("config-inited", set_repository_buttons)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
