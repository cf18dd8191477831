"""A network at several epochs of its training, to be looked at afterwards (punjabi2017, IV)."""

import copy
from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from typing import TypeVar

from torch import Tensor, nn

Seen = TypeVar("Seen")
Weights = dict[str, Tensor]


class Snapshots:
    """Copies of a model's weights after some epochs, within a limit of memory.

    For `fmlib.training.fit(..., after_epoch=snapshots)`; `snapshots(0, model)` before it keeps
    the weights that training starts from.  When the memory is full, the snapshot is dropped,
    neither the first nor the last, whose neighbours e and f are closest in log(epoch + 1), that
    is by (f + 1) / (e + 1), the earliest if several are: the rest lie about evenly on a
    logarithmic axis, denser at the beginning, where most happens.

    Args:
        memory: bytes that all snapshots may take together, at least two snapshots.
        epochs: which epochs to keep; None: every one.
    """

    def __init__(self, memory: int, epochs: Collection[int] | None = None) -> None:
        self._memory, self._chosen = memory, epochs
        self._kept: dict[int, Weights] = {}
        self._model: nn.Module | None = None

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """Keep the weights of this epoch if it is one of those to be kept.

        Raises:
            ValueError: memory for fewer than two snapshots, epochs that do not ascend, another
                model.
        """
        size = _size(model.state_dict())
        if 2 * size > self._memory:
            raise ValueError(
                f"memory is {self._memory:,} bytes, but two snapshots of this model take "
                f"{2 * size:,}; give at least as many"
            )
        if self._model is not None and self._model is not model:
            raise ValueError("the snapshots are those of another model; make new ones for this one")
        if self._kept and epoch <= self.epochs[-1]:
            raise ValueError(
                f"epoch {epoch} comes after epoch {self.epochs[-1]}; make new snapshots for a new "
                "training"
            )
        self._model = model
        if self._chosen is None or epoch in self._chosen:
            if self.size + size > self._memory:
                del self._kept[_closest((*self.epochs, epoch))]
            self._kept[epoch] = _copied(model)

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs of which there are snapshots, in ascending order."""
        return tuple(self._kept)

    @property
    def size(self) -> int:
        """Bytes that the snapshots take at present."""
        return sum(map(_size, self._kept.values()))

    def model(self, epoch: int) -> nn.Module:
        """A copy of the model, in evaluation mode, with the weights of an epoch that was kept.

        Raises:
            ValueError: an epoch without snapshot; the message lists those that have one.
        """
        if epoch not in self._kept:
            listed = ", ".join(map(str, self._kept)) or "none yet"
            raise ValueError(f"there is no snapshot of epoch {epoch}; those kept are: {listed}")
        model = copy.deepcopy(self._model)
        assert model is not None  # the weights were copied from it
        model.load_state_dict(self._kept[epoch])
        return model.eval()

    def models(self) -> Iterator[tuple[int, nn.Module]]:
        """Each epoch and its `model`, made one after the other and not kept here."""
        for epoch in self.epochs:
            yield epoch, self.model(epoch)


def evolution(snapshots: Snapshots, look: Callable[[nn.Module], Seen]) -> dict[int, Seen]:
    """What a look at the model shows at each epoch, one copy in memory at a time."""
    return {epoch: look(snapshots.model(epoch)) for epoch in snapshots.epochs}


def _copied(model: nn.Module) -> Weights:
    """Copies of all weights and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _size(weights: Weights) -> int:
    """Bytes of tensors."""
    return sum(value.numel() * value.element_size() for value in weights.values())


def _closest(epochs: tuple[int, ...]) -> int:
    """The epoch, neither first nor last, whose neighbours are closest in log(epoch + 1)."""
    neighbours = zip(epochs, epochs[1:], epochs[2:], strict=False)
    return min(neighbours, key=lambda e: Fraction(e[2] + 1, e[0] + 1))[1]
