"""The judge: does what was made from one network convince another one, trained apart?"""

from typing import NamedTuple

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from fmlib.models import chunk_size, evaluating
from fmlib.visualization.units import probabilities


class Judgement(NamedTuple):
    """What a network says of pictures made for certain classes.

    Attributes:
        agreement: percent of the pictures that it puts into their class.
        low: lower end of the 95 % interval of the agreement (Clopper and Pearson 1934), in
            percent; it takes the pictures for independent draws.
        high: upper end of that interval.
        n: number of pictures.
        predicted: (N,) class that it puts each picture into.
        probability: (N,) probability that it gives each picture's class.
    """

    agreement: float
    low: float
    high: float
    n: int
    predicted: Tensor
    probability: Tensor


@torch.no_grad()
def judge(
    model: nn.Module, pictures: Tensor, labels: Tensor, *, chunk: int | None = None
) -> Judgement:
    """Ask a network for the classes of pictures that were made from another one.

    Args:
        model: the judge; returns log-probabilities or logits (N, classes).
        pictures: (N, C, H, W) in [0, 1], of any type and on any device.
        labels: (N,) the classes they were made for, by the judge's numbers.
        chunk: pictures computed at a time; None: `fmlib.models.chunk_size`.

    Raises:
        ValueError: no pictures, as many labels as there are not pictures, unknown classes,
            pictures that the model cannot take.
    """
    if len(pictures) != len(labels) or len(pictures) == 0:
        raise ValueError(
            f"there are {len(pictures)} pictures and {len(labels)} labels; give as many, at least "
            "one"
        )
    weight = next(model.parameters())
    parts = pictures.to(weight).split(chunk or chunk_size(pictures))
    with evaluating(model):
        try:
            chances = torch.cat([probabilities(model(part)) for part in parts])  # (N, classes)
        except RuntimeError as error:
            size = "x".join(map(str, pictures.shape[1:]))
            raise ValueError(f"the model takes no pictures of {size} ({error})") from error
    check_labels(labels, chances.shape[1])
    labels = labels.to(chances.device)
    predicted = chances.argmax(dim=1)
    right, count = int((predicted == labels).sum()), len(labels)
    interval = binomtest(right, count).proportion_ci(method="exact")
    return Judgement(
        agreement=100 * right / count,
        low=100 * float(interval.low),
        high=100 * float(interval.high),
        n=count,
        predicted=predicted,
        probability=chances.gather(1, labels[:, None]).squeeze(1),  # (N,)
    )


def check_labels(labels: Tensor, n_classes: int) -> None:
    """Refuse class numbers that a model does not have."""
    wrong = labels[(labels < 0) | (labels >= n_classes)]
    if len(wrong):
        raise ValueError(
            f"labels contain {wrong[0].item()}, but the model has classes 0 to {n_classes - 1}"
        )
