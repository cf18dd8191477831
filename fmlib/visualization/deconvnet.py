"""Deconvnet: what in an image made a unit active, projected back to pixels.

Zeiler and Fergus (2014, section 2.1; masum2022, section V) undo a network's operations one by one:
unpooling by the switches, rectification, filtering by the transposed filters.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.models import Scale, chunk_size
from fmlib.visualization.graph import IMAGE, Concatenation, Step, compute, image_shape, run, trace
from fmlib.visualization.receptive_field import pair
from fmlib.visualization.units import Unit, check_units, undisturbed


def project(
    model: nn.Module,
    images: Tensor,
    units: Unit | Sequence[Unit],
    chunk: int | None = None,
) -> Tensor:
    """Project one activation of each image back to its pixels (Zeiler and Fergus 2014, 2.1).

    All other activations of the layer are set to zero.  A rectification stands where the network
    has its ReLU: after unpooling where it computes ReLU before pooling, as theirs does, and
    before unpooling where it pools first, which gives the same unless windows overlap.  (The
    switches differ where no activation is positive: after ReLU such a window is all zero, and
    its first place counts.)  The layer's own activation is taken as it is: behind a ReLU it is
    never negative, before one it may be, and then projects what turned it off.  The pixels are
    not rectified.  Biases are left out, and so is the shift of `Scale`, whose factor multiplies
    as a filter's weight does.

    `captum.attr.Deconvolution` of a positive activation, times the activation, is the same for
    networks whose ReLUs are modules, in place or used again too.  It begins with 1 in the place
    of the activation, so that zero and negative activations differ, and it passes functions such
    as `F.relu` by, which are rectified here.

    Args:
        model: a CNN of `Conv2d`, `ReLU`, `MaxPool2d`, `AvgPool2d`, `AdaptiveAvgPool2d`, `Linear`,
            `Flatten`, `Dropout`, `Identity` and `Scale`, branching and concatenating if it likes.
        images: (N, C, H, W) in [0, 1].
        units: one for all images, or one for each, all of one layer.  A map without position
            stands for the strongest activation of it in each image, the first if there are
            several.
        chunk: images computed at a time; None: `fmlib.models.chunk_size`.

    Returns:
        (N, C, H, W), in the unit of the activation, of either sign.

    Raises:
        ValueError: no images, units that do not exist, of several layers or not one for each
            image; or a layer on the way that cannot be undone, such as a softmax.
    """
    shape = image_shape(model, images)
    chosen = _one_for_each(units, images)
    check_units(model, list(dict.fromkeys(chosen)), shape)
    steps = trace(model, chosen[0].layer)
    check_steps(steps)
    size = chunk or chunk_size(images)
    parts = [(part, chosen[i * size :][: len(part)]) for i, part in enumerate(images.split(size))]
    with torch.no_grad(), undisturbed(model):
        return torch.cat([project_through(steps, part, its_units) for part, its_units in parts])


def _one_for_each(units: Unit | Sequence[Unit], images: Tensor) -> list[Unit]:
    """A unit of one layer for every image."""
    chosen = [units] * len(images) if isinstance(units, Unit) else list(units)
    if len(chosen) != len(images):
        raise ValueError(
            f"there are {len(chosen)} units for {len(images)} images; give one unit, or one for "
            "each image"
        )
    if len(layers := list(dict.fromkeys(unit.layer for unit in chosen))) > 1:
        raise ValueError(f"the units are of layers {', '.join(layers)}; give units of one layer")
    return chosen


def check_steps(steps: Sequence[Step]) -> None:
    """Refuse operations of which one cannot be undone.

    Raises:
        ValueError: the message names the layer and the kinds that can.
    """
    for step in steps:
        if type_of(step) is None:
            kinds = ", ".join(kind.__name__ for kind in UNDO)
            raise ValueError(
                f"layer {step.layer_name!r} is {type(step.layer).__name__}, which a deconvnet "
                f"cannot undo; choose a unit before it, behind layers of {kinds} only"
            )


def type_of(step: Step) -> type[nn.Module] | None:
    """The kind of layer by which a step is undone; None if it cannot be."""
    return next((kind for kind in UNDO if isinstance(step.layer, kind)), None)


class Record(NamedTuple):
    """What the way forward leaves for the way back: shapes of each step's inputs, switches."""

    shapes: dict[str, list[torch.Size]]
    switches: dict[str, Tensor]


def project_through(steps: Sequence[Step], images: Tensor, units: Sequence[Unit]) -> Tensor:
    """Projections (n, C, H, W) of a unit for each of a few images, all at once.

    Takes the steps that lead to the units' layer, as `fmlib.visualization.graph.trace` gives
    them; to be called within `undisturbed` and without gradients.
    """
    record = Record({}, {})

    def compute_and_record(step: Step, inputs: Sequence[Tensor]) -> Tensor:
        record.shapes[step.name] = [taken.shape for taken in inputs]
        if not isinstance(step.layer, nn.MaxPool2d):
            return compute(step, inputs)
        output, record.switches[step.name] = _pool(step.layer, inputs[0])
        return output

    signal = alone(run(steps, images, compute_and_record), units)
    return _back(steps, record, signal)


def _pool(layer: nn.MaxPool2d, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The maxima (n, maps, P, Q) and their places in the planes that they were taken from."""
    found: tuple[Tensor, Tensor] = F.max_pool2d_with_indices(
        maps,
        pair(layer.kernel_size),
        pair(layer.stride),
        pair(layer.padding),
        pair(layer.dilation),
        layer.ceil_mode,
    )
    return found


def alone(output: Tensor, units: Sequence[Unit]) -> Tensor:
    """A layer's output (n, maps, P, Q) or (n, D) with zeros but for unit i in image i.

    Of a map without position the strongest activation is left.
    """
    signal = torch.zeros_like(output)
    for kept, values, unit in zip(signal, output, units, strict=True):
        if values.dim() == 1:
            kept[unit.index] = values[unit.index]
            continue
        plane = values[unit.index]
        row, column = unit.position or divmod(int(plane.flatten().argmax()), plane.shape[1])
        kept[unit.index, row, column] = plane[row, column]
    return signal


def _back(steps: Sequence[Step], record: Record, signal: Tensor) -> Tensor:
    """From a signal at the last step's output to the image, undoing step after step."""
    signals = {steps[-1].name: signal}
    for step in reversed(steps):
        kind, shapes = type_of(step), record.shapes[step.name]
        assert kind is not None
        given = signals.pop(step.name)
        parts = UNDO[kind](step.layer, given, shapes, record.switches.get(step.name))
        for name, part in zip(step.inputs, parts, strict=True):
            signals[name] = signals[name] + part if name in signals else part
    return signals[IMAGE]


Undo = Callable[..., Sequence[Tensor]]
"""Takes a layer, the signal at its output, its inputs' shapes and its switches, and returns the
signals at its inputs."""


def _unchanged(layer: nn.Module, signal: Tensor, *_: object) -> Sequence[Tensor]:
    return [signal]


def _rectified(layer: nn.Module, signal: Tensor, *_: object) -> Sequence[Tensor]:
    return [signal.relu()]


def _reshaped(
    layer: nn.Module, signal: Tensor, shapes: Sequence[torch.Size], _: object
) -> Sequence[Tensor]:
    return [signal.reshape(shapes[0])]  # (n, maps, P, Q)


def _split(
    layer: nn.Module, signal: Tensor, shapes: Sequence[torch.Size], _: object
) -> Sequence[Tensor]:
    parts: Sequence[Tensor] = signal.split([shape[1] for shape in shapes], dim=1)
    return parts


def _scaled(layer: Scale, signal: Tensor, *_: object) -> Sequence[Tensor]:
    return [signal * layer.factor]


def _by_rows(layer: nn.Linear, signal: Tensor, *_: object) -> Sequence[Tensor]:
    return [signal @ layer.weight]


def _filtered(
    layer: nn.Conv2d, signal: Tensor, shapes: Sequence[torch.Size], _: object
) -> Sequence[Tensor]:
    """By the transposed filters; every activation puts its filter where its window was."""
    painted = F.conv_transpose2d(
        signal, layer.weight, None, layer.stride, 0, 0, layer.groups, layer.dilation
    )
    left, _, top, _ = layer._reversed_padding_repeated_twice
    return [_placed(painted, top, left, shapes[0])]


def _placed(painted: Tensor, top: int, left: int, shape: torch.Size) -> Tensor:
    """Without the padding of `top` rows and `left` columns, in the shape (n, maps, H, W)."""
    *_, height, width = painted.shape
    bottom, right = shape[-2] + top - height, shape[-1] + left - width
    return F.pad(painted, (-left, right, -top, bottom))  # (n, maps, H, W)


def unpool(signal: Tensor, switches: Tensor, shape: torch.Size) -> Tensor:
    """Put a signal back to where the maxima were; what overlapping windows put there adds up.

    (`F.max_unpool2d` would keep one of them.)

    Args:
        signal: (N, maps, P, Q).
        switches: (N, maps, P, Q), places in the flattened planes that were pooled.
        shape: (N, maps, H, W) of these.

    Returns:
        (N, maps, H, W), zero elsewhere.
    """
    planes = signal.new_zeros(shape).flatten(2)  # (N, maps, H W)
    return planes.scatter_add_(2, switches.flatten(2), signal.flatten(2)).reshape(shape)


def _unpooled(
    layer: nn.MaxPool2d, signal: Tensor, shapes: Sequence[torch.Size], switches: Tensor
) -> Sequence[Tensor]:
    return [unpool(signal, switches, shapes[0])]


def _spread(
    layer: nn.AvgPool2d, signal: Tensor, shapes: Sequence[torch.Size], _: object
) -> Sequence[Tensor]:
    """Every average is put, at its share, to all that it was taken from."""
    kernel, stride, padding = map(pair, (layer.kernel_size, layer.stride, layer.padding))
    ones = signal.new_ones(1, 1, *shapes[0][2:])
    pixels = F.avg_pool2d(ones, kernel, stride, padding, layer.ceil_mode, divisor_override=1)
    shares = layer(ones) / pixels  # (1, 1, P, Q)
    windows = signal.new_ones(signal.shape[1], 1, *kernel)  # (maps, 1, kernel's rows and columns)
    painted = F.conv_transpose2d(signal * shares, windows, None, stride, groups=len(windows))
    return [_placed(painted, *padding, shapes[0])]


def _spread_adaptively(
    layer: nn.AdaptiveAvgPool2d, signal: Tensor, shapes: Sequence[torch.Size], _: object
) -> Sequence[Tensor]:
    """The same for windows that differ in size: rows and columns are averaged one by one."""
    rows, columns = (
        _averages(size, count).to(signal)
        for size, count in zip(shapes[0][2:], signal.shape[2:], strict=True)
    )
    return [rows.T @ signal @ columns]  # (n, maps, H, W)


def _averages(size: int, count: int) -> Tensor:
    """The matrix (count, size) of an adaptive average pooling along one axis."""
    number, at = torch.arange(count)[:, None], torch.arange(size)
    inside = (at >= number * size // count) & (at < -(-(number + 1) * size // count))
    return inside / inside.sum(dim=1, keepdim=True, dtype=torch.float64)


UNDO: Mapping[type[nn.Module], Undo] = {
    nn.Conv2d: _filtered,
    nn.ReLU: _rectified,
    nn.MaxPool2d: _unpooled,
    nn.AvgPool2d: _spread,
    nn.AdaptiveAvgPool2d: _spread_adaptively,
    nn.Linear: _by_rows,
    nn.Flatten: _reshaped,
    nn.Dropout: _unchanged,
    nn.Identity: _unchanged,
    Scale: _scaled,
    Concatenation: _split,
}
"""How each kind of layer is undone."""
