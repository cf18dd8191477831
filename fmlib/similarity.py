"""Convolutional Similarity of belmekki2024: how alike maps can be, from the weights alone.

The cross-correlation of two kernels of N rows at shift s is R(s) = sum over x of K1(x) K2(x + s),
zero outside the kernels, with 2N - 1 shifts down and as many to the right.  With full padding the
product of two maps of an image X is <F1, F2> = sum over s of R(s) A(s), where A is the
cross-correlation of X with itself.  Convolutional Similarity is the sum of R(s)² over shifts,
channels and pairs of filters: where it is 0, maps are orthogonal whatever the image.

By Parseval's theorem the sum of R(s)² is that of the product of two power spectra over
frequencies, so that all pairs of filters need no loop over pairs.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib.features import extractor
from fmlib.models import chunk_size

Pairs = Literal["adjacent", "all"]
Channels = Literal["each", "all", "summed"]

RELEASED_RATE = 0.002
"""Step size of Adam that minimizes the loss before training, as released."""


# --- from weights --------------------------------------------------------------------------


def convolutional_similarity(
    weight: Tensor, pairs: Pairs = "adjacent", channels: Channels = "each", unit_norm: bool = False
) -> Tensor:
    """Convolutional Similarity of a convolution's weights (belmekki2024; defaults as released).

    Args:
        weight: (filters, channels, height, width), as of `nn.Conv2d`; square or not.
        pairs: `adjacent`, each filter with the next one, or `all`, each pair once.
        channels: `each` correlates the kernels of one input channel and adds up the squares;
            `all` also those of different channels, which maps of several channels need to be
            orthogonal; `summed` adds the channels' correlations before squaring, as Wang et al.
            (2020, Orthogonal Convolutional Neural Networks) do.
        unit_norm: divide each filter by its norm first; one of zeros stays as it is.

    Returns:
        A number of at least 0, differentiable; 0 for a single filter, which has no pair.

    Raises:
        ValueError: weights of another number of dimensions, an option that does not exist.
    """
    weight = _checked(weight, pairs, channels, unit_norm)
    if channels == "summed":
        return _summed(weight, pairs)
    power = _power(_spectra(weight))  # (filters, channels, frequencies)
    if channels == "all":
        power = power.sum(dim=1)
    return _pair_products(power, pairs)


def norm_products(
    weight: Tensor, pairs: Pairs = "adjacent", channels: Channels = "each", unit_norm: bool = False
) -> Tensor:
    """Convolutional Similarity to be expected of random kernels of the same norms.

    The sum over pairs, and over channels as in `convolutional_similarity`, of the product of both
    kernels' squared norms: independent numbers of mean 0 have it on average.  Arguments and
    errors as there.
    """
    weight = _checked(weight, pairs, channels, unit_norm)
    squares = weight.square().sum(dim=(2, 3))  # (filters, channels)
    if channels == "all":
        squares = squares.sum(dim=1)
    return _pair_products(squares, pairs)


def scale_free(
    weight: Tensor, pairs: Pairs = "adjacent", channels: Channels = "each", unit_norm: bool = False
) -> Tensor:
    """`convolutional_similarity` divided by `norm_products`: about 1 for random kernels.

    It stays the same if all weights are multiplied by a factor, and with `unit_norm` if every
    filter is by one of its own.  0 where there is no pair, or only filters of zeros.
    """
    norms = norm_products(weight, pairs, channels, unit_norm)
    loss = convolutional_similarity(weight, pairs, channels, unit_norm)
    return loss / norms.clamp_min(torch.finfo(weight.dtype).tiny)


def kernel_cosine(weight: Tensor, pairs: Pairs = "all") -> Tensor:
    """Mean squared cosine of pairs of filters, 0 to 1: 0 where kernels are orthogonal.

    Each filter (channels, height, width) is taken as one vector; a filter of zeros has cosine 0
    with all others.  0 for a single filter.  Takes weights as `convolutional_similarity` does.
    """
    weight = _checked(weight, pairs, "each", True)
    return _over_pairs((weight.flatten(1) @ weight.flatten(1).T).square(), pairs)


def cross_correlation(
    first: Tensor, second: Tensor, reach: tuple[int, int] | None = None
) -> Tensor:
    """Cross-correlation R(s) = sum over x of first(x) second(x + s), zero outside; differentiable.

    Args:
        first: (C, h, w) channels of a kernel or image.
        second: (D, h, w) channels of another one of the same size.
        reach: largest shifts down and right, and as far up and left; None: all that overlap,
            (h - 1, w - 1).

    Returns:
        (C, D, 2 rows + 1, 2 columns + 1) of each channel with each; no shift is in the middle.

    Raises:
        ValueError: sizes that differ.
    """
    if not first.dim() == second.dim() == 3 or first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"the shapes are {tuple(first.shape)} and {tuple(second.shape)}; give (channels, "
            "height, width) of one height and width"
        )
    rows, columns = reach or (first.shape[1] - 1, first.shape[2] - 1)
    found = F.conv2d(second[:, None], first[:, None], padding=(rows, columns))
    return found.transpose(0, 1)


def _checked(weight: Tensor, pairs: str, channels: str, unit_norm: bool) -> Tensor:
    """The weights that are compared, each filter of norm 1 where that is wanted."""
    if weight.dim() != 4:
        raise ValueError(
            f"the weights have the shape {tuple(weight.shape)}; give those of a two-dimensional "
            "convolution, (filters, channels, height, width)"
        )
    for name, value, choices in (
        ("pairs", pairs, get_args(Pairs)),
        ("channels", channels, get_args(Channels)),
    ):
        if value not in choices:
            raise ValueError(f"{name} {value!r} is not known; choose one of {', '.join(choices)}")
    return F.normalize(weight, dim=(1, 2, 3)) if unit_norm else weight  # type: ignore[arg-type]


def _spectra(weight: Tensor) -> Tensor:
    """Fourier transform (filters, channels, 2 frequencies) of each kernel, real parts first.

    Scaled so that the squares of two power spectra's products add up to the squares of the
    cross-correlation's values.  Kernels are small, so that a product of matrices is the fastest.
    """
    height, width = weight.shape[2:]
    size = 2 * height - 1, 2 * width - 1
    delta = torch.eye(height * width, dtype=torch.float64, device=weight.device)
    waves = torch.fft.rfft2(delta.unflatten(1, (height, width)), s=size)
    twice = torch.full((waves.shape[-1],), 2.0, dtype=torch.float64, device=weight.device)
    twice[0] = 1  # the others stand for their complex conjugates too
    waves = (waves * (twice / (size[0] * size[1])) ** 0.25).flatten(1)  # (h w, frequencies)
    return weight.flatten(2) @ torch.cat((waves.real, waves.imag), dim=1).to(weight)


def _power(spectra: Tensor) -> Tensor:
    """Squared magnitude at each frequency."""
    real, imaginary = spectra.square().chunk(2, dim=-1)
    return real + imaginary


def _pair_products(values: Tensor, pairs: str) -> Tensor:
    """Sum over pairs of filters, the first dimension, of the products of their values.

    Of all pairs, each filter is multiplied by the sum of those before it; subtracting squares
    from the square of the whole sum would lose digits.
    """
    before = values[:-1] if pairs == "adjacent" else values.cumsum(dim=0)[:-1]
    return (before * values[1:]).sum()


def _summed(weight: Tensor, pairs: str) -> Tensor:
    """Squares of correlations that are added over the channels, at every frequency."""
    spectra = torch.complex(*_spectra(weight).chunk(2, dim=-1))  # (filters, channels, frequencies)
    if pairs == "adjacent" or len(weight) < 3:
        products = (spectra[:-1].conj() * spectra[1:]).sum(dim=1)
        return torch.view_as_real(products).square().sum()
    by_frequency = spectra.permute(2, 0, 1)  # (frequencies, filters, channels)
    own = _power(_spectra(weight)).sum(dim=1)  # (filters, frequencies)
    if weight.shape[0] > weight.shape[1]:  # the smaller of two Gram matrices has the same norm
        by_frequency = by_frequency.mT
    gram = by_frequency @ by_frequency.mH
    return (torch.view_as_real(gram).square().sum() - own.square().sum()) / 2


def _over_pairs(values: Tensor, pairs: str) -> Tensor:
    """Mean over pairs of filters of a matrix of values (..., filters, filters); 0 without pairs."""
    count = values.shape[-1]
    if pairs == "adjacent":
        chosen = values.diagonal(1, dim1=-2, dim2=-1)
    else:
        rows, columns = torch.triu_indices(count, count, 1, device=values.device)
        chosen = values[..., rows, columns]
    return chosen.sum(dim=-1) / max(chosen.shape[-1], 1)


# --- of a model ----------------------------------------------------------------------------


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The two-dimensional convolutions of a model by name.

    Raises:
        ValueError: convolutions of another number of dimensions, or none at all.
    """
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv3d):
            raise ValueError(
                f"layer {name!r} is a {type(layer).__name__}; Convolutional Similarity is defined "
                "for models whose convolutions are all Conv2d"
            )
        if isinstance(layer, nn.Conv2d):
            found[name] = layer
    if not found:
        raise ValueError("the model has no Conv2d layer, and so no Convolutional Similarity")
    return found


def model_similarity(model: nn.Module, **options: Any) -> Tensor:
    """Convolutional Similarity of a model: the sum over all its Conv2d layers, 1x1 ones included.

    Filters of different groups of a convolution see different inputs and are not paired.
    `options` are those of `convolutional_similarity`, whose errors it also has.
    """
    return _summed_over(model, convolutional_similarity, options)


def _summed_over(
    model: nn.Module, measure: Callable[..., Tensor], options: dict[str, Any]
) -> Tensor:
    return torch.stack([measure(part, **options) for part in _filter_groups(model)]).sum()


def _filter_groups(model: nn.Module) -> Iterator[Tensor]:
    """Weights of all convolutions, group by group."""
    for layer in convolutions(model).values():
        yield from layer.weight.chunk(layer.groups)


class Decomposition(NamedTuple):
    """A model's Convolutional Similarity as the product of two numbers.

    Attributes:
        loss: Convolutional Similarity.
        norms: what random kernels of the same norms have on average (`norm_products`).
    """

    loss: float
    norms: float

    @property
    def scale_free(self) -> float:
        """The loss without what norms account for, about 1 for random kernels."""
        return self.loss / self.norms if self.norms else 0.0


@torch.no_grad()
def decompose(model: nn.Module, **options: Any) -> Decomposition:
    """How much of a model's Convolutional Similarity its norms account for, and what is left.

    `options` are those of `convolutional_similarity`.
    """
    measures = convolutional_similarity, norm_products
    return Decomposition(*(_summed_over(model, each, options).item() for each in measures))


def regularizer(model: nn.Module, beta: float = 0.001, **options: Any) -> Tensor:
    """What is added to the loss of a training step: `beta` times Convolutional Similarity.

    In a training loop: `loss = F.cross_entropy(model(images), labels) + regularizer(model)`.
    `options` are those of `convolutional_similarity`.

    Raises:
        ValueError: a negative `beta`, and what `model_similarity` refuses.
    """
    if not beta >= 0:
        raise ValueError(f"beta is {beta}; give a number of at least 0")
    return beta * model_similarity(model, **options)


def initialize(
    model: nn.Module,
    iterations: int = 500,
    learning_rate: float = RELEASED_RATE,
    **options: Any,
) -> list[float]:
    """Minimize Convolutional Similarity alone before training (belmekki2024, iterative form).

    In a script, before the optimizer of the training is made: `initialize(model, 500)`.

    Args:
        model: changed in place; only weights of its Conv2d layers are.
        iterations: steps of Adam, I in the paper; 0 changes nothing.
        learning_rate: its step size, as released.
        options: those of `convolutional_similarity`.

    Returns:
        The loss before each step and after the last one, `iterations + 1` numbers.

    Raises:
        ValueError: negative `iterations`, a `learning_rate` that is not positive, and what
            `model_similarity` refuses.
    """
    if iterations < 0 or not learning_rate > 0:
        raise ValueError(
            f"iterations is {iterations} and learning_rate {learning_rate}; give a whole number "
            "from 0, and a positive one"
        )
    weights = [layer.weight for layer in convolutions(model).values()]
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    losses = []
    for _ in range(iterations):
        loss = model_similarity(model, **options)
        gradients = torch.autograd.grad(loss, weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad()
    with torch.no_grad():
        return [*losses, model_similarity(model, **options).item()]


# --- from feature maps ---------------------------------------------------------------------


def map_cosine(maps: Tensor, pairs: Pairs = "all") -> Tensor:
    """Mean absolute cosine of pairs of feature maps of the same image, 0 to 1; differentiable.

    Takes maps (N, maps, P, Q) and returns (N,).  A map of zeros has cosine 0 with all others;
    `dead_share` counts those.  0 for a single map.
    """
    unit = F.normalize(maps.flatten(2), dim=2)  # (N, maps, PQ)
    return _over_pairs((unit @ unit.mT).abs(), pairs)


def layer_map_cosine(model: nn.Module, images: Tensor, layer: str, pairs: Pairs = "all") -> Tensor:
    """`map_cosine` of a layer's maps, a mean over images (N, C, H, W); differentiable.

    Raises:
        ValueError: a layer that does not exist, or without feature maps.
    """
    totals = [map_cosine(maps, pairs).sum() for maps in _layer_maps(model, images, layer)]
    return torch.stack(totals).sum() / len(images)


@torch.no_grad()
def dead_share(model: nn.Module, images: Tensor, layer: str) -> float:
    """Share in percent of a layer's maps that are nowhere above 0 in any of the images.

    After a ReLU they are zeros everywhere.  Images and errors as for `layer_map_cosine`.
    """
    highest = torch.stack(
        [maps.amax(dim=(0, 2, 3)) for maps in _layer_maps(model, images, layer)]
    )  # (parts, maps)
    return 100 * (highest.amax(dim=0) <= 0).double().mean().item()


def _layer_maps(model: nn.Module, images: Tensor, layer: str) -> Iterator[Tensor]:
    """The layer's maps (n, maps, P, Q) of some images at a time."""
    extract = extractor(model, [layer])
    for part in images.split(chunk_size(images)):
        maps = extract(part)[layer]
        if maps.dim() != 4:
            raise ValueError(f"layer {layer!r} has no feature maps; choose one that has")
        yield maps
