"""Units of a network, which all methods of this package look at, and how to look undisturbed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fmlib.features import extractor
from fmlib.models import ImageShape, evaluating


@dataclass(frozen=True)
class Unit:
    """A class, a whole feature map or a single neuron of it.

    `layer` is a layer's name and `index` the class or the map; `position`, row and column,
    chooses one neuron of a map.  A map without position stands for its mean where it is maximized,
    and for its strongest activation where that is projected.
    """

    layer: str
    index: int
    position: tuple[int, int] | None = None


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Let a model only be looked at, as in evaluation; everything is restored afterwards.

    Weights take no gradients, and no layer writes over its input (torchvision's ReLUs would
    change the maps of the layer before them).
    """
    weights = [(weight, weight.requires_grad) for weight in model.parameters()]
    layers: list[Any] = [
        layer for layer in model.modules() if getattr(layer, "inplace", False) is True
    ]
    with evaluating(model):
        try:
            for weight, _ in weights:
                weight.requires_grad_(False)
            for layer in layers:
                layer.inplace = False
            yield
        finally:
            for weight, needed in weights:
                weight.requires_grad_(needed)
            for layer in layers:
                layer.inplace = True


def output_shapes(
    model: nn.Module, layers: Sequence[str], image_shape: ImageShape
) -> dict[str, tuple[int, ...]]:
    """Shapes of the named layers' outputs for one image, (maps, P, Q) or (D,).

    Raises:
        ValueError: a layer that does not exist, images that the model cannot take.
    """
    extract = extractor(model, list(dict.fromkeys(layers)))
    weight = next(model.parameters())
    blank = torch.zeros(1, *image_shape, dtype=weight.dtype, device=weight.device)
    try:
        with torch.no_grad(), undisturbed(model):
            outputs = extract(blank)
    except RuntimeError as error:
        size = "x".join(map(str, image_shape))
        raise ValueError(f"the model takes no images of {size} ({error})") from error
    return {layer: tuple(output.shape[1:]) for layer, output in outputs.items()}


def check_units(model: nn.Module, units: Sequence[Unit], image_shape: ImageShape) -> None:
    """Refuse units that the model does not have for images of this shape (C, H, W).

    Raises:
        ValueError: no unit at all, or a layer, map, class or position that does not exist; the
            message says what there is.
    """
    if not units:
        raise ValueError("there is no unit to look at; give at least one")
    shapes = output_shapes(model, [unit.layer for unit in units], image_shape)
    for unit in units:
        count, *plane = shapes[unit.layer]
        if not 0 <= unit.index < count:
            raise ValueError(
                f"index is {unit.index}, but layer {unit.layer!r} has units 0 to {count - 1}"
            )
        if unit.position is None:
            continue
        if len(plane) != 2:
            raise ValueError(
                f"position is {unit.position}, but layer {unit.layer!r} has no maps; give none"
            )
        if not all(0 <= at < size for at, size in zip(unit.position, plane, strict=True)):
            raise ValueError(
                f"position is {unit.position}, but the maps of layer {unit.layer!r} have "
                f"{plane[0]} rows and {plane[1]} columns"
            )


def activations(output: Tensor, units: Sequence[Unit]) -> Tensor:
    """What each unit shows for its own image, image i belonging to unit i.

    Takes the output (N, maps, P, Q) or (N, D) of the layer that all N units belong to, and
    returns (N,).
    """
    rows = torch.arange(len(units), device=output.device)
    chosen = output[rows, [unit.index for unit in units]]  # (N, P, Q) or (N,)
    if chosen.dim() == 1:
        return chosen
    return torch.stack(
        [
            plane.mean() if unit.position is None else plane[unit.position]
            for plane, unit in zip(chosen, units, strict=True)
        ]
    )


def probabilities(outputs: Tensor) -> Tensor:
    """Class probabilities (N, classes) of a model's outputs, logits or log-probabilities.

    Not of a model that ends in `nn.Softmax`: give the part of it before that layer.
    """
    return outputs.flatten(1).softmax(dim=1)
