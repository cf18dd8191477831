"""Sphinx extension: figures that load fast.

Figures are drawings in few colours, yet matplotlib writes each pixel with 32 bits.  Beside the
pages they lie with a palette of 256 colours, which takes a third of the bytes and looks the same.
"""

import io
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


def lighten_figures(app: Sphinx, exception: Exception | None) -> None:
    """Lighten the figures of the pages."""
    if exception is None and app.builder.format == "html":
        for path in sorted((Path(app.outdir) / app.builder.imagedir).glob("*.png")):
            lighten(path)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the step."""
    app.connect("build-finished", lighten_figures)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
