"""Networks with hand-written weights, small enough to be worked out on paper."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from fmlib.models import scale_layer

DTYPE = torch.float64


def _conv(weight: list[list[list[list[float]]]], bias: list[float]) -> nn.Conv2d:
    """A convolution with the given kernels (maps, channels, height, width)."""
    kernels = torch.tensor(weight, dtype=DTYPE)
    maps, channels, height, width = kernels.shape
    layer = nn.Conv2d(channels, maps, (height, width), dtype=DTYPE)
    with torch.no_grad():
        layer.weight.copy_(kernels)
        layer.get_parameter("bias").copy_(torch.tensor(bias))
    return layer


def _linear(weight: list[list[float]]) -> nn.Linear:
    """A linear layer with the given rows and no bias."""
    rows = torch.tensor(weight, dtype=DTYPE)
    layer = nn.Linear(rows.shape[1], rows.shape[0], bias=False, dtype=DTYPE)
    with torch.no_grad():
        layer.weight.copy_(rows)
    return layer


def diagonal_cnn() -> nn.Sequential:
    """For images (1, 6, 6), with two maps of 5x5.

    Map 0 is x[i, j] - x[i+1, j+1], map 1 is x[i, j] + x[i+1, j+1]; after pooling (2x2) and
    ReLU, conv2 gives (3 map 0 + map 1) and (2 map 1); class k gets the sum of map k.
    """
    return nn.Sequential(
        OrderedDict(
            scale=scale_layer("unit", DTYPE),
            conv1=_conv([[[[1, 0], [0, -1]]], [[[1, 0], [0, 1]]]], [0, 0]),
            pool1=nn.MaxPool2d(2),
            act1=nn.ReLU(),
            conv2=_conv([[[[3]], [[1]]], [[[0]], [[2]]]], [0, 0]),
            flatten=nn.Flatten(),
            fc1=_linear([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]]),
            log_softmax=nn.LogSoftmax(dim=1),
        )
    )


def pixel_cnn(
    slopes: tuple[float, float] = (1, -1), shifts: tuple[float, float] = (0, 1)
) -> nn.Sequential:
    """For images (1, 2, 2); map k is slope k times the image plus shift k: x and 1 - x.

    An image of equal pixels m so has the means (m, 1 - m); conv2 doubles the maps.
    """
    return nn.Sequential(
        OrderedDict(
            scale=scale_layer("unit", DTYPE),
            conv1=_conv([[[[slopes[0]]]], [[[slopes[1]]]]], list(shifts)),
            act1=nn.ReLU(),
            conv2=_conv([[[[2]], [[0]]], [[[0]], [[2]]]], [0, 0]),
            act2=nn.ReLU(),
            flatten=nn.Flatten(),
            fc1=_linear([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]]),
            log_softmax=nn.LogSoftmax(dim=1),
        )
    )


def linear_net(rows: list[list[float]]) -> nn.Sequential:
    """Log-softmax of one linear layer without bias: logit k is row k times the pixels."""
    return nn.Sequential(
        OrderedDict(
            scale=scale_layer("unit", DTYPE),
            flatten=nn.Flatten(),
            fc1=_linear(rows),
            log_softmax=nn.LogSoftmax(dim=1),
        )
    )


def flat_images(*values: float) -> Tensor:
    """Images (N, 1, 2, 2), each of one value."""
    return torch.tensor(values, dtype=DTYPE).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def random_images(count: int, seed: int = 0, size: int = 6) -> Tensor:
    """Images (count, 1, size, size) drawn uniformly from [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, size, size, generator=generator, dtype=DTYPE)


def random_labels(count: int, n_classes: int = 2, seed: int = 1) -> Tensor:
    """Class numbers (count,)."""
    return torch.randint(n_classes, (count,), generator=torch.Generator().manual_seed(seed))


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all weights and buffers."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, Tensor]) -> bool:
    """Whether all weights and buffers are exactly as in the snapshot."""
    after = model.state_dict()
    return after.keys() == before.keys() and all(torch.equal(after[k], before[k]) for k in before)


def hook_count(model: nn.Module) -> int:
    """Number of hooks on a model and its layers."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
