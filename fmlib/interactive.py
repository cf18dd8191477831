"""Numbers and images of figures that answer to their readers, as text for the pages' script.

Such a figure is a picture that carries data of the type `MIME` with it: JSON of all that can be
chosen.  On the book's pages a script puts controls in the picture's place.  What does not know the
type, such as JupyterLab, shows the picture, and so does a browser without scripts.
"""

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.core.pylabtools import retina_figure
from IPython.display import display
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fmlib.experiments.adversarial_robustness import Sweep
from fmlib.experiments.caching import Run
from fmlib.experiments.exploration import Embedding
from fmlib.figures.style import COLOURS, NAMES
from fmlib.training import EpochResult

Payload = dict[str, Any]
"""What JSON can hold; `kind` says which controls the script makes of the rest."""

MIME = "application/vnd.fmlib.interactive"
MOST_POINTS = 1000
MOST_SPRITE = 200_000
"""Characters that the images of a map may take on a page."""

_MARKUP = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})


def perturbations(found: Sweep, class_names: Sequence[str]) -> Payload:
    """Images, signs of both models' gradients, and what both models see at each eps.

    The page adds eps times the signs to the pixels by itself.
    """
    return {
        "kind": "perturbation",
        "classes": list(class_names),
        "models": [NAMES[model] for model in found.signs],
        "shape": list(found.images.shape[1:]),
        "epsilons": list(found.epsilons),
        "images": [_perturbed(found, place) for place in range(len(found.images))],
    }


def _perturbed(found: Sweep, place: int) -> Payload:
    """One image of a sweep: by each model's gradient, what each model sees, and how surely."""
    return {
        "label": int(found.labels[place]),
        "pixels": pixels(found.images[place]),
        "by": [
            {
                "signs": signs(sign[place]),
                "seen": [found.seen[source, judge][place].tolist() for judge in found.signs],
                "percent": [
                    rounded(100 * found.sure[source, judge][place], 0) for judge in found.signs
                ],
            }
            for source, sign in found.signs.items()
        ],
    }


def cache_by_epoch(run: Run, class_names: Sequence[str]) -> Payload:
    """Threshold, mean similarity and images skipped of every class, after each epoch."""
    return {
        "kind": "cache",
        "classes": list(class_names),
        "epochs": [_cached(epoch) for epoch in run.history.epochs],
    }


def _cached(epoch: EpochResult) -> Payload:
    return {
        "threshold": rounded(epoch.policy["threshold"], 4),
        "similarity": rounded(epoch.policy["similarity"], 4),
        "skipped": list(epoch.skipped_per_class),
        "seen": list(epoch.seen_per_class),
    }


def image_map(
    found: Embedding, images: Tensor, named: Tensor, class_names: Sequence[str]
) -> Payload:
    """Points of the plane, each with its image, its class, and the class that `named` (N,) gives.

    Takes the first thousand points; of images too heavy for a page every second, fourth, … one.
    """
    step, most = 1, min(MOST_POINTS, len(found.points))
    while len(packed := sprite(images[:most:step])) > MOST_SPRITE and step < most:
        step *= 2
    chosen = slice(0, most, step)
    return {
        "kind": "map",
        "classes": list(class_names),
        "colours": [*COLOURS.as_hex()],
        "shape": list(images.shape[1:]),
        "places": _in_thousandths(found.points[chosen]),
        "labels": found.labels[chosen].tolist(),
        "named": named[chosen].tolist(),
        "sprite": packed,
    }


def _in_thousandths(points: NDArray[np.float64]) -> list[list[int]]:
    """Points (N, 2) as whole numbers of a square from 0 to 1000, the second one downwards."""
    low, span = points.min(axis=0), np.ptp(points, axis=0).max() or 1.0
    scaled = 1000 * (points - low) / span  # (N, 2)
    scaled += (1000 - scaled.max(axis=0)) / 2
    scaled[:, 1] = 1000 - scaled[:, 1]
    return [[round(x), round(y)] for x, y in scaled.tolist()]


def pixels(image: Tensor) -> str:
    """An image (C, H, W) in [0, 1] as bytes in base64, channel by channel and row by row."""
    return b64encode(_levels(image).tobytes()).decode()


def _levels(images: Tensor) -> NDArray[np.uint8]:
    return (255 * images.clamp(0, 1)).round().numpy().astype(np.uint8)


def signs(values: Tensor) -> str:
    """Numbers -1, 0 and 1 of any shape as a text of -, 0 and +."""
    return "".join("-0+"[1 + value] for value in values.flatten().int().tolist())


def sprite(images: Tensor) -> str:
    """Images (N, C, H, W) in [0, 1] as one PNG in base64, in a square as wide as need be.

    Grey ones get 16 levels, colour ones 64 colours: enough for images of a finger's breadth.
    """
    count, channels, height, width = images.shape
    side = math.ceil(math.sqrt(count))
    tiles = np.zeros((side * side, channels, height, width), dtype=np.uint8)
    tiles[:count] = _levels(images)
    grid = tiles.reshape(side, side, channels, height, width).transpose(0, 3, 1, 4, 2)
    sheet = grid.reshape(side * height, side * width, channels)
    return _png(Image.fromarray(sheet) if channels == 3 else Image.fromarray(sheet[:, :, 0]))


def _png(image: Image.Image) -> str:
    """An image with few colours, as PNG in base64."""
    few = image.quantize(64, Image.Quantize.MEDIANCUT) if image.mode == "RGB" else _grey16(image)
    file = BytesIO()
    few.save(file, "PNG", optimize=True, bits=4 if image.mode == "L" else 8)
    return b64encode(file.getvalue()).decode()


def _grey16(image: Image.Image) -> Image.Image:
    few = Image.fromarray(np.rint(np.asarray(image) / 17).astype(np.uint8)).convert("P")
    few.putpalette([17 * level for level in range(16) for _ in "rgb"])
    return few


def rounded(values: Iterable[float | None], digits: int) -> list[float | int | None]:
    """Numbers with so many digits behind the point; None where there is no number."""
    known = [None if x is None or not math.isfinite(x) else float(x) for x in values]
    return [None if x is None else round(x, digits) if digits else round(x) for x in known]


def written(payload: Payload) -> str:
    """JSON without what HTML could take for a tag; a line for each name and each entry of a list.

    Lines keep apart what differs between two runs.
    """
    parts = [f"{json.dumps(name)}:{_lines(value)}" for name, value in payload.items()]
    return ("{" + ",\n".join(parts) + "}").translate(_MARKUP)


def _lines(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return "[\n" + ",\n".join(_lines(entry) for entry in value) + "]"
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def show(payload: Payload) -> None:
    """Display the figure drawn last, with data that a page makes controls of.

    The cell needs the metadata of a figure with a name: `mystnb: {figure: {name: …}}`.
    """
    figure = plt.gcf()
    png, size = retina_figure(figure, base64=True)
    plt.close(figure)
    data = {"image/png": png, "text/plain": repr(figure), MIME: written(payload)}
    display(data, raw=True, metadata={"image/png": size})
