"""Convolutional Similarity as it is measured: all pairs in two ways, and beside a training step."""

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.cases import Case, Sizes, Verdict
from benchmarks.measure import timed
from fmlib import models
from fmlib.similarity import Pairs, convolutional_similarity, model_similarity
from fmlib.training import TrainConfig, fit

ROUNDING = 1e-4  # share by which single-precision values may differ and count as equal


def all_pairs(channels: int, sizes: Sizes) -> Case:
    """Value and gradient over all pairs of filters, by spectra and by grouped convolutions."""
    channels = min(channels, sizes.filters)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(channels, channels, 3, 3, generator=generator, requires_grad=True)

    def gradient(value: Tensor) -> Tensor:
        return torch.autograd.grad(value, weight)[0]

    def spectral() -> Tensor:
        return gradient(convolutional_similarity(weight, "all"))

    def grouped() -> Tensor:
        return gradient(peers.all_pairs_by_convolution(weight))

    def verdict() -> Verdict:
        ours, theirs = spectral(), grouped()
        equal = (ours - theirs).norm() <= ROUNDING * theirs.norm()
        said = "agree within" if equal else "differ by more than"
        return Verdict(
            f"{channels} filters of {channels} channels, 3×3, value and gradient; the gradients "
            f"{said} {100 * ROUNDING:g} %.",
            bool(equal),
        )

    return Case(timed(spectral), timed(grouped), verdict)


def regularized_step(pairs: Pairs, width: int, sizes: Sizes) -> Case:
    """What the regularizer adds to a training step of ResNet18, against the step without it."""
    model = models.resnet18(width=width)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(sizes.stepped, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (len(images),), generator=generator)
    config = TrainConfig(
        epochs=1, batch_size=len(images), micro_batch=len(images), learning_rate=1e-3
    )
    step = timed(partial(fit, model, images, labels, config))
    weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    share = timed(
        lambda: torch.autograd.grad(0.001 * model_similarity(model, pairs=pairs), weights)
    )
    share(), step()  # what is computed for the first time takes longer

    def verdict() -> Verdict:
        return Verdict(
            f"Width {width}, {models.parameter_count(model) / 1e6:.1f} million weights, "
            f"{len(images)} images of 32×32 a step; value and gradient of all "
            f"{len(weights)} convolutions."
        )

    return Case(share, step, verdict)
