"""What the library is measured against: the same work done in the usual way."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from fmlib import torchvision_compat as torchvision_compat  # must precede torchvision

# isort: split
from torchvision import transforms

LEARNING_RATE = 0.01
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST, as in PyTorch's example

CAPTUM_BATCH = 250
"""Images that captum is given at a time: it is slower with fewer and with many more."""
CAPTUM_POSITIONS = 1
"""Occluded copies of an image of 224x224 that captum is given at a time: more are slower."""


class _Images(TorchDataset[Any]):
    """Images as torchvision's datasets hand them out: one at a time, by way of a PIL image."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((MEAN,), (DEVIATION,))]
        )

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.pixels[index].numpy())), int(self.labels[index])

    def __len__(self) -> int:
        return len(self.labels)


def usual(model: nn.Sequential) -> nn.Sequential:
    """The same network as PyTorch makes it: its own pooling, weights in its usual layout."""
    for name, layer in list(model.named_children()):
        if isinstance(layer, nn.MaxPool2d):
            setattr(model, name, nn.MaxPool2d(layer.kernel_size))
    return nn.utils.convert_conv2d_weight_memory_format(model, torch.contiguous_format)


def tutorial_loader(images: Tensor, labels: Tensor, batch_size: int) -> DataLoader[Any]:
    """Grey images (N, 1, H, W) in [0, 1] as the tutorial loads them: no worker processes."""
    pixels = (images[:, 0] * 255).round().to(torch.uint8)
    return DataLoader(_Images(pixels, labels), batch_size=batch_size, shuffle=True)


def tutorial_epoch(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> None:
    """One epoch as in PyTorch's MNIST example."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(images), labels)
        loss.backward()
        optimizer.step()


def in_memory_epoch(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> None:
    """The same loop on tensors in memory: a whole batch at a time, in the usual layout."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    tutorial_epoch(model, ((images[batch], labels[batch]) for batch in order.split(batch_size)))


def vectors_by_map(maps: NDArray[Any]) -> NDArray[Any]:
    """Absolute mean and deviation of each map of (N, maps, P, Q), one map after the other."""
    return np.array([[(abs(map_.mean()), map_.std(ddof=1)) for map_ in image] for image in maps])


def vectors_by_torch(maps: Tensor) -> Tensor:
    """Absolute mean and deviation of all maps (N, maps, P, Q) by `torch.mean` and `torch.std`."""
    moments = maps.mean(dim=(2, 3)).abs(), maps.std(dim=(2, 3))
    return torch.stack(moments, dim=2).flatten(1)  # (N, 2 maps)


def captum_fgsm(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """FGSM by captum, within [0, 1]."""
    from captum.robust import FGSM

    attack = FGSM(model, nn.NLLLoss(reduction="none"), lower_bound=0.0, upper_bound=1.0)
    attack.zero_thresh = 0.0  # by default captum leaves gradients below 1e-6 alone
    parts = zip(images.split(CAPTUM_BATCH), labels.split(CAPTUM_BATCH), strict=True)
    found = [attack.perturb(part.requires_grad_(), eps, target=true) for part, true in parts]
    return torch.cat(found).detach()


def captum_occlusion(
    model: nn.Module, image: Tensor, square: int, stride: int, target: int
) -> Tensor:
    """Occlusion of an image (C, H, W) by a grey square, by captum: means per pixel (C, H, W)."""
    from captum.attr import Occlusion

    channels = len(image)
    [found] = Occlusion(model).attribute(
        image[None],
        (channels, square, square),
        strides=(channels, stride, stride),
        baselines=0.5,
        target=target,
        perturbations_per_eval=CAPTUM_POSITIONS,
    )
    return Tensor(found)


def sklearn_tsne(images: Tensor, seed: int) -> NDArray[np.float64]:
    """t-SNE of images (N, C, H, W) in the plane by scikit-learn, started from PCA."""
    from sklearn.manifold import TSNE

    flat = images.flatten(1).numpy()
    embedding = TSNE(n_components=2, init="pca", perplexity=30.0, random_state=seed)
    return np.asarray(embedding.fit_transform(flat), dtype=np.float64)


def all_pairs_by_convolution(weight: Tensor) -> Tensor:
    """Convolutional Similarity of all pairs of filters by one convolution, grouped by channels.

    Takes weights (filters, channels, h, w); every pair comes out twice, each
    filter also with itself.
    """
    filters, channels, height, width = weight.shape
    kernels = weight.transpose(0, 1).reshape(channels * filters, 1, height, width)
    responses = F.conv2d(weight, kernels, padding=(height - 1, width - 1), groups=channels)
    squares = responses.square().sum(dim=(2, 3))  # (filters, channels filters)
    by_pair = squares.unflatten(1, (channels, filters)).sum(dim=1)  # (filters, filters)
    total: Tensor = by_pair.triu(1).sum()
    return total
