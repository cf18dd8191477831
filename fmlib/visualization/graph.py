"""A network as its operations in order, for methods that follow them one by one.

The model is traced, not guessed at: branches, concatenations, and functions such as `F.relu` in
the place of layers are found wherever the model calls them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fmlib.models import ImageShape, MaxPool2d, Scale, evaluating
from fmlib.visualization.units import undisturbed

IMAGE = "image"
"""Name of the image among the inputs of steps."""


class Concatenation(nn.Module):
    """Maps side by side."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Join maps (N, maps of each, P, Q)."""
        return torch.cat(maps, dim=1)


class Step(NamedTuple):
    """One operation: its own name, the layer it is or equals, and the steps that it takes from.

    `layer_name` is the layer's name in the model or the name of a function, for messages.
    """

    name: str
    layer_name: str
    layer: nn.Module
    inputs: tuple[str, ...]


LAYERS: tuple[type[nn.Module], ...] = (
    nn.Conv2d,
    nn.ReLU,
    nn.LeakyReLU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Linear,
    nn.Flatten,
    nn.Dropout,
    nn.Identity,
    nn.LogSoftmax,
    nn.Softmax,
    Scale,
    Concatenation,
)
"""Kinds of layers that a network may consist of."""
_EXACT = {*LAYERS, MaxPool2d}  # no other subclasses: they may compute something else


def _max_pool(kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
              ceil_mode: bool = False, return_indices: bool = False) -> nn.Module:  # fmt: skip
    return nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices, ceil_mode)


def _softmax(kind: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    return lambda dim, _stacklevel=3, dtype=None: kind(dim)


def _relu(*_: Any, **__: Any) -> nn.Module:
    return nn.ReLU()


def _concatenation(dim: int = 0) -> nn.Module:
    return Concatenation() if dim in (1, -3) else nn.Module()


_FUNCTIONS: dict[Any, Callable[..., nn.Module]] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), _relu),
    **dict.fromkeys((F.max_pool2d, torch.max_pool2d), _max_pool),
    **dict.fromkeys((torch.flatten, "flatten"), nn.Flatten),
    torch.cat: _concatenation,
    F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    F.dropout: lambda *_, **__: nn.Dropout().eval(),
    F.log_softmax: _softmax(nn.LogSoftmax),
    F.softmax: _softmax(nn.Softmax),
}
"""The layer that a function or method equals, by what is given to it after the maps."""


class _Tracer(fx.Tracer):
    """Traces down to the known layers, and remembers which calls gave each layer's output."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, list[fx.Node]] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a layer is looked at as a whole."""
        return type(m) in _EXACT or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """What the layer returns."""
        output = super().call_module(m, *args, **kwargs)
        if isinstance(output, fx.Proxy):
            self.outputs.setdefault(self.path_of_module(m), []).append(output.node)
        return output


def trace(model: nn.Module, layer: str) -> tuple[Step, ...]:
    """The operations that lead from the image to a layer, in order; the last is the layer's own.

    Args:
        model: a CNN of the kinds of layers in `LAYERS`.
        layer: name of a layer, or of a container for what it returns.

    Raises:
        ValueError: a layer that does not exist or is called more than once, a model that cannot
            be traced, or an operation on the way that is of another kind.
    """
    node, layers = _output(model, layer), dict(model.named_modules())
    found: dict[str, Step] = {}
    for other in node.graph.nodes:  # in the order of computing
        if other in _ancestors(node):
            found[other.name] = _step(other, layers)
    if not found:
        raise ValueError(f"layer {layer!r} only passes on the image; choose a later layer")
    return tuple(found.values())


def _output(model: nn.Module, layer: str) -> fx.Node:
    """Where the model computes what a layer returns."""
    known = [name for name, _ in model.named_modules() if name]
    if layer not in known:
        raise ValueError(f"layer {layer!r} does not exist; choose from {', '.join(known)}")
    tracer = _Tracer()
    try:
        with evaluating(model):
            tracer.trace(model)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"the model cannot be traced ({error}); give one that decides nothing by the values "
            "of tensors"
        ) from error
    outputs = tracer.outputs.get(layer, [])
    if len(outputs) != 1:
        raise ValueError(
            f"layer {layer!r} is called {len(outputs)} times; choose a layer that is called once"
        )
    return outputs[0]


def _ancestors(node: fx.Node) -> set[fx.Node]:
    """A node and all that it is computed from, without the image."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        other = waiting.pop()
        if other not in found and other.op != "placeholder":
            found.add(other)
            waiting += other.all_input_nodes
    return found


def _step(node: fx.Node, layers: dict[str, nn.Module]) -> Step:
    """What a node computes, as a layer."""
    inputs, layer = node.all_input_nodes, None
    if node.op == "call_module":
        name, layer = str(node.target), layers[str(node.target)]
    else:
        name = str(getattr(node.target, "__name__", node.target))
        if node.target in _FUNCTIONS:
            given, options = node.args, dict(node.kwargs)
            maps = given[0] if given else options.pop("input", options.pop("tensors", None))
            inputs = list(maps) if isinstance(maps, list | tuple) else [maps]  # type: ignore[list-item]
            layer = _FUNCTIONS[node.target](*given[1:], **options)
    if type(layer) not in _EXACT:
        kinds = ", ".join(kind.__name__ for kind in LAYERS)
        raise ValueError(
            f"{name!r} is {'a function' if layer is None else type(layer).__name__}, which "
            f"cannot be followed; layers and functions may be {kinds}"
        )
    assert layer is not None
    _check_settings(name, layer)
    sources = tuple(IMAGE if other.op == "placeholder" else other.name for other in inputs)
    return Step(node.name, name, layer, sources)


def _check_settings(name: str, layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        raise ValueError(f"layer {name!r} pads by {layer.padding_mode!r}; it may pad by 'zeros'")


Compute = Callable[[Step, Sequence[Tensor]], Tensor]
"""Computes a step's output from its inputs."""


def compute(step: Step, inputs: Sequence[Tensor]) -> Tensor:
    """The output of a step by its layer."""
    output: Tensor = step.layer(*inputs)
    return output


def run(steps: Sequence[Step], images: Tensor, compute: Compute = compute) -> Tensor:
    """What the last step returns for images (N, C, H, W); outputs no longer needed are let go.

    To be called within `undisturbed`.
    """
    last = _last_uses(steps)
    values = {IMAGE: images}
    for number, step in enumerate(steps):
        values[step.name] = compute(step, [values[name] for name in step.inputs])
        for name in set(step.inputs):
            if last[name] == number:
                del values[name]
    return values[steps[-1].name]


def _last_uses(steps: Sequence[Step]) -> dict[str, int]:
    """The number of the last step that takes each output."""
    return {name: number for number, step in enumerate(steps) for name in step.inputs}


def image_shape(model: nn.Module, images: Tensor) -> ImageShape:
    """Shape (C, H, W) of images (N, C, H, W) that may be given to a model.

    Raises:
        ValueError: no images, another number of dimensions, or another precision than the
            model's.
    """
    if images.dim() != 4 or len(images) == 0:
        raise ValueError(f"images have the shape {tuple(images.shape)}; give (N, C, H, W), N >= 1")
    if images.dtype != (dtype := next(model.parameters()).dtype):
        raise ValueError(f"images are {images.dtype}, but the model is {dtype}; give the same")
    _, channels, height, width = images.shape
    return channels, height, width


def shapes(
    model: nn.Module, steps: Sequence[Step], image_shape: ImageShape
) -> dict[str, tuple[int, ...]]:
    """Shapes of the image and of all steps' outputs for one image, (maps, P, Q) or (D,)."""
    weight = next(model.parameters())
    blank = torch.zeros(1, *image_shape, dtype=weight.dtype, device=weight.device)
    found: dict[str, tuple[int, ...]] = {IMAGE: image_shape}

    def note(step: Step, inputs: Sequence[Tensor]) -> Tensor:
        output = compute(step, inputs)
        found[step.name] = tuple(output.shape[1:])
        return output

    with torch.no_grad(), undisturbed(model):
        run(steps, blank, note)
    return found


def held_values(steps: Sequence[Step], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers `run` holds at most for an image, what a layer works with included.

    That is a copy of what it takes, for a convolution every window of it side by side, for
    max pooling the places of the maxima.
    """
    last = _last_uses(steps)
    held, live = [], {IMAGE}
    for number, step in enumerate(steps):
        live.add(step.name)
        held.append(sum(prod(shapes[name]) for name in live) + _working(step, shapes))
        live -= {name for name in step.inputs if last[name] == number}
    return max(held)


def _working(step: Step, shapes: Mapping[str, tuple[int, ...]]) -> int:
    taken = sum(prod(shapes[name]) for name in step.inputs)
    if isinstance(step.layer, nn.Conv2d):
        windows = step.layer.in_channels * prod(step.layer.kernel_size)
        return taken + windows * prod(shapes[step.name][1:])
    if isinstance(step.layer, nn.MaxPool2d):
        return taken + 2 * prod(shapes[step.name])  # 8 bytes a place, if float32 has 4
    return taken
