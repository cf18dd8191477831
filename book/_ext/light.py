"""Sphinx extension: a site that loads fast and is small.

Figures are drawings in few colours, yet matplotlib writes each pixel with 32 bits.  Beside the
pages, and in the notebooks to download, they have a palette of 256 colours, which takes a third of
the bytes and looks the same.  The theme's source maps, which only its authors need, are left out.
"""

import base64
import hashlib
import io
import json
from pathlib import Path

from PIL import Image, ImageChops
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

# In steps of 255: a figure keeps its own colours if more than 1 % of it would move by more.
VISIBLE = 8


def with_palette(image: Image.Image) -> Image.Image | None:
    """The image in 256 colours, None if one would see the difference."""
    colours = image.convert("RGB")
    reduced = colours.quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
    change = ImageChops.difference(colours, reduced.convert("RGB")).split()
    largest = ImageChops.lighter(change[0], ImageChops.lighter(change[1], change[2]))
    moved = sum(largest.histogram()[VISIBLE + 1 :])
    return reduced if moved <= 0.01 * image.width * image.height else None


def lighten(path: Path) -> None:
    """Write an opaque image with a palette if that makes it smaller and looks the same."""
    with Image.open(path) as image:
        opaque = image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
        reduced = with_palette(image) if opaque else None
    if reduced is not None:
        file = io.BytesIO()
        reduced.save(file, "PNG", optimize=True)
        if len(file.getvalue()) < path.stat().st_size:
            path.write_bytes(file.getvalue())


def lighten_notebook(path: Path, images: Path) -> None:
    """Put the pages' figures, which bear the digest of what they were, into a notebook."""
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "image/png" in data:
                digest = hashlib.sha256(base64.b64decode(data["image/png"])).hexdigest()
                lighter = (images / f"{digest}.png").read_bytes()
                data["image/png"] = base64.b64encode(lighter).decode()
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def lighten_site(app: Sphinx, exception: Exception | None) -> None:
    """Lighten the figures of the pages and of the notebooks; leave source maps out."""
    if exception is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    images = site / app.builder.imagedir
    for path in sorted(images.glob("*.png")):
        lighten(path)
    for path in sorted((site / "_sources").rglob("*.ipynb")):
        lighten_notebook(path, images)
    for path in site.rglob("*.map"):
        path.unlink()


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the step."""
    app.connect("build-finished", lighten_site)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
