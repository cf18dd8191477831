"""Receptive fields: which pixels a unit can see, found by following the network's operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from fmlib.models import ImageShape
from fmlib.visualization.graph import IMAGE, Step, shapes, trace

Pair = tuple[int, int]


@dataclass(frozen=True)
class Field:
    """The rectangle of pixels that unit (0, 0) of a map sees, and how it moves on to the next.

    All are pairs, for rows and columns: `size` in pixels, `stride` from unit to unit, and
    `offset`, the first pixel, negative where it lies in the padding.  A field of the whole image
    has the size None.
    """

    size: Pair | None
    stride: Pair = (1, 1)
    offset: Pair = (0, 0)

    def start(self, position: Pair) -> Pair:
        """First row and column that the unit at a position sees, negative ones in the padding."""
        row, column = (
            first + step * at
            for first, step, at in zip(self.offset, self.stride, position, strict=True)
        )
        return row, column

    def centre(self, position: Pair) -> tuple[float, float]:
        """Row and column that the field of the unit at a position is centred on.

        Raises:
            ValueError: a field of the whole image.
        """
        if self.size is None:
            raise ValueError("the unit sees the whole image; only a smaller field has a centre")
        row, column = self.start(position)
        return row + (self.size[0] - 1) / 2, column + (self.size[1] - 1) / 2


WHOLE_IMAGE = Field(None)
"""What a unit sees that takes all positions of its input, such as a linear layer's.

Rows and columns at the border that no window reaches are not left out.
"""


def receptive_field(
    model: nn.Module,
    layer: str,
    channel: int | None = None,
    image_shape: ImageShape | None = None,
) -> Field:
    """The pixels that a layer's units can see (Luo et al. 2016, section 2), by its operations.

    Channels differ where branches are concatenated (SqueezeNet's fire modules) and behind grouped
    convolutions.

    Args:
        model: a CNN of the kinds of layers in `fmlib.visualization.graph.LAYERS`.
        layer: name of a layer, or of a container for what it returns.
        channel: the map; None: what all maps see together.
        image_shape: (C, H, W), needed only behind adaptive pooling to more than one value, whose
            windows depend on it.

    Raises:
        ValueError: a layer or channel that does not exist, an operation that cannot be followed,
            or units that do not all see rectangles of the same size at the same distance.
    """
    fields = receptive_fields(model, layer, image_shape)
    if channel is None:
        return _union(fields, layer)
    if not 0 <= channel < len(fields):
        raise ValueError(f"channel is {channel}, but layer {layer!r} has 0 to {len(fields) - 1}")
    return fields[channel]


def receptive_fields(
    model: nn.Module, layer: str, image_shape: ImageShape | None = None
) -> list[Field]:
    """The field of each of a layer's maps, or units: `receptive_field` for all channels at once."""
    steps = trace(model, layer)
    sizes = {} if image_shape is None else shapes(model, steps, image_shape)
    fields = {IMAGE: [Field((1, 1))] * _image_channels(model)}
    for step in _below_linear(steps):
        fields[step.name] = _through(step, [fields[name] for name in step.inputs], sizes)
    return fields[steps[-1].name]


def patch(field: Field, position: Pair, image_shape: ImageShape) -> tuple[slice, slice]:
    """Rows and columns of the image that the unit at a position sees, within the image.

    Args:
        field: as `receptive_field` gives it.
        position: row and column of the unit in its map, from 0; of no account if the field is
            the whole image.
        image_shape: (C, H, W).

    Raises:
        ValueError: a position whose field does not touch the image.
    """
    _, *plane = image_shape
    if field.size is None:
        return slice(0, plane[0]), slice(0, plane[1])
    starts = field.start(position)
    stops = [start + size for start, size in zip(starts, field.size, strict=True)]
    outside = [
        start >= side or stop <= 0 for start, stop, side in zip(starts, stops, plane, strict=True)
    ]
    if min(position) < 0 or any(outside):
        raise ValueError(
            f"position is {position}, but no unit there sees an image of {plane[0]}x{plane[1]} "
            "pixels; give row and column of a unit"
        )
    rows, columns = (
        slice(max(start, 0), min(stop, side))
        for start, stop, side in zip(starts, stops, plane, strict=True)
    )
    return rows, columns


def _image_channels(model: nn.Module) -> int:
    convolutions = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    first = next(convolutions, None)
    return 1 if first is None else first.in_channels


def _below_linear(steps: Sequence[Step]) -> list[Step]:
    """The steps that decide what the last one sees: none before a linear layer does."""
    wanted, found = {steps[-1].name}, list[Step]()
    for step in reversed(steps):
        if step.name in wanted:
            linear = isinstance(step.layer, nn.Linear)
            found.insert(0, step._replace(inputs=()) if linear else step)
            wanted |= set(found[0].inputs)
    return found


def _through(
    step: Step, taken: Sequence[list[Field]], sizes: Mapping[str, tuple[int, ...]]
) -> list[Field]:
    """What each map of a layer sees if those of its inputs see these fields."""
    layer, fields = step.layer, [field for each in taken for field in each]
    if isinstance(layer, nn.Linear):
        return [WHOLE_IMAGE] * layer.out_features
    if isinstance(layer, nn.Conv2d):
        padding, width = _before(layer), layer.in_channels // layer.groups
        groups = [fields[first : first + width] for first in range(0, len(fields), width)]
        joined = [
            _window(
                _union(group, step.layer_name),
                pair(layer.kernel_size),
                pair(layer.stride),
                padding,
                pair(layer.dilation),
            )
            for group in groups
        ]
        return [field for field in joined for _ in range(layer.out_channels // layer.groups)]
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride, padding = map(pair, (layer.kernel_size, layer.stride, layer.padding))
        dilation = pair(getattr(layer, "dilation", 1))
        return [_window(field, kernel, stride, padding, dilation) for field in fields]
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return _adaptive(step, layer, fields, sizes)
    if isinstance(layer, nn.LogSoftmax | nn.Softmax):
        return [_union(fields, step.layer_name)] * len(fields)
    if isinstance(layer, nn.Flatten) and set(fields) != {WHOLE_IMAGE}:
        raise ValueError(
            f"layer {step.layer_name!r} makes units of single positions of maps; choose the layer "
            "that it takes, or the linear layer behind it"
        )
    return fields


def pair(value: int | Sequence[int]) -> Pair:
    """A setting for rows and for columns, where one may be given for both."""
    if isinstance(value, int):
        return value, value
    rows, columns = value
    return rows, columns


def _before(layer: nn.Conv2d) -> Pair:
    """Rows and columns that a convolution pads before the first pixel."""
    left, _, top, _ = layer._reversed_padding_repeated_twice
    return top, left


def _window(field: Field, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Field:
    """What a window of units sees."""
    if field.size is None:
        return field
    axes = [
        (
            size + jump * spread * (window - 1),
            jump * step,
            first - jump * before,
        )
        for size, jump, first, window, step, before, spread in zip(
            field.size, field.stride, field.offset, kernel, stride, padding, dilation, strict=True
        )
    ]
    size, jump, offset = zip(*axes, strict=True)
    return Field(size, jump, offset)


def _adaptive(
    step: Step,
    layer: nn.AdaptiveAvgPool2d,
    fields: list[Field],
    sizes: Mapping[str, tuple[int, ...]],
) -> list[Field]:
    """What the windows see that an adaptive pooling makes out of maps of a known size."""
    if layer.output_size in (1, (1, 1)) or set(fields) == {WHOLE_IMAGE}:
        return [WHOLE_IMAGE] * len(fields)
    if not sizes:
        raise ValueError(
            f"the windows of layer {step.layer_name!r} depend on the image's size; give image_shape"
        )
    taken, given = sizes[step.inputs[0]][1:], sizes[step.name][1:]
    if any(size % count for size, count in zip(taken, given, strict=True)):
        raise ValueError(
            f"the windows of layer {step.layer_name!r} differ in size, since maps of "
            f"{taken[0]}x{taken[1]} do not divide into {given[0]}x{given[1]}; choose a layer before"
        )
    kernel = taken[0] // given[0], taken[1] // given[1]
    return [_window(field, kernel, kernel, (0, 0), (1, 1)) for field in fields]


def _union(fields: Sequence[Field], name: str) -> Field:
    """The smallest rectangle around fields that move on together."""
    different = set(fields)
    if len(different) == 1 or WHOLE_IMAGE in different:
        return WHOLE_IMAGE if WHOLE_IMAGE in different else fields[0]
    strides = {field.stride for field in different}
    if len(strides) > 1:
        raise ValueError(
            f"layer {name!r} joins maps whose units are {sorted(strides)} pixels apart, so that "
            "no one field fits all its units; choose a layer before"
        )
    boxes = [(field.offset, field.size) for field in different if field.size is not None]
    first = [min(offset[axis] for offset, _ in boxes) for axis in (0, 1)]
    last = [max(offset[axis] + size[axis] for offset, size in boxes) for axis in (0, 1)]
    size = last[0] - first[0], last[1] - first[1]
    return Field(size, strides.pop(), (first[0], first[1]))
