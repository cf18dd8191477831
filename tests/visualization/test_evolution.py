"""Snapshots of a training: exact copies, the limit of memory, and which ones are dropped."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmlib.training import TrainConfig, fit
from fmlib.visualization import evolution as module
from fmlib.visualization.evolution import Snapshots, evolution
from tests import toy

SIZE = 8
"""Bytes of a snapshot of `number`."""


def number(value: float = 0.0) -> nn.Linear:
    """A model of one weight."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(model.weight, value)
    return model


def taken(memory: int, epochs: int, chosen: tuple[int, ...] | None = None) -> Snapshots:
    """Snapshots of a weight that is the number of the epoch, from 0 to `epochs`."""
    snapshots, model = Snapshots(memory, chosen), number()
    for epoch in range(epochs + 1):
        nn.init.constant_(model.weight, epoch)
        snapshots(epoch, model)
    return snapshots


def weight(model: nn.Module) -> float:
    return model.get_parameter("weight").item()


def trained(epochs: int, snapshots: Snapshots | None = None) -> nn.Sequential:
    model = toy.diagonal_cnn()
    if snapshots is not None:
        snapshots(0, model)
    config = TrainConfig(epochs=epochs, batch_size=5, learning_rate=0.01)
    fit(model, toy.random_images(20), toy.random_labels(20), config, after_epoch=snapshots)
    return model


def test_each_epoch_is_what_a_training_of_that_length_gives() -> None:
    snapshots = Snapshots(memory=10**6)
    model = trained(3, snapshots)
    after = toy.snapshot(model)
    assert snapshots.epochs == (0, 1, 2, 3)
    for epoch, copied in snapshots.models():
        expected = trained(epoch) if epoch else toy.diagonal_cnn()
        assert toy.unchanged(copied, toy.snapshot(expected))
        assert not copied.training
        assert copied is not model
    assert toy.unchanged(model, after)
    assert model.training


def test_chosen_epochs_only() -> None:
    snapshots = taken(10**6, 5, chosen=(0, 2, 5))
    assert snapshots.epochs == (0, 2, 5)
    assert evolution(snapshots, weight) == {0: 0.0, 2: 2.0, 5: 5.0}


def test_copies_belong_to_the_reader() -> None:
    snapshots = taken(10**6, 1)
    first, second = (model for _, model in snapshots.models())
    nn.init.constant_(first.get_parameter("weight"), 7.0)
    assert weight(second) == 1.0
    assert evolution(snapshots, weight) == {0: 0.0, 1: 1.0}


def test_only_one_copy_is_alive_at_a_time() -> None:
    """A copy is gone before the next one is made, if the look keeps nothing of it."""
    alive: list[int] = []

    class Counted(nn.Linear):
        count = 0

        def __deepcopy__(self, memo: object) -> "Counted":
            Counted.count += 1
            alive.append(Counted.count)
            return Counted(1, 1)

        def __del__(self) -> None:
            Counted.count -= 1

    model, snapshots = Counted(1, 1), Snapshots(10**6)
    for epoch in range(3):
        snapshots(epoch, model)
    Counted.count = 0
    evolution(snapshots, lambda model: None)
    assert alive == [1, 1, 1]


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        (3, (0, 1, 2, 3)),
        # 4/1 for epoch 1, whose neighbours are 0 and 2, is 3; for 2: 4/2; for 3: 5/3, the least
        (4, (0, 1, 2, 4)),
        (7, (0, 1, 2, 7)),  # 3, 8/2 and 8/3 for epoch 6, the least
        (8, (0, 2, 7, 8)),  # 3, 9/2 and 9/3 for epoch 7: as little as epoch 1, which is earlier
        (9, (0, 2, 7, 9)),  # 8, 9/3 and 10/8
    ],
)
def test_thinning_by_hand(last: int, kept: tuple[int, ...]) -> None:
    snapshots = taken(4 * SIZE, last)
    assert snapshots.epochs == kept
    assert evolution(snapshots, weight) == {epoch: float(epoch) for epoch in kept}


def test_two_snapshots_are_the_first_and_the_last() -> None:
    assert taken(2 * SIZE + SIZE - 1, 9).epochs == (0, 9)


@given(memory=st.integers(2 * SIZE, 9 * SIZE), epochs=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_the_memory_is_used_and_first_and_last_are_kept(memory: int, epochs: int) -> None:
    snapshots = taken(memory, epochs)
    assert snapshots.size == SIZE * min(epochs + 1, memory // SIZE)
    assert (snapshots.epochs[0], snapshots.epochs[-1]) == (0, epochs)
    assert list(snapshots.epochs) == sorted(set(snapshots.epochs))


def test_kept_epochs_lie_evenly_on_a_logarithmic_axis() -> None:
    """Eight of a hundred: no gap is more than about twice what equal gaps would be."""
    logs = [math.log(epoch + 1) for epoch in taken(8 * SIZE, 99).epochs]
    gaps = [after - before for before, after in pairwise(logs)]
    assert max(gaps) <= 2.1 * logs[-1] / 7


def test_the_limit_holds_while_a_snapshot_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes kept while the newest copy is added; buffers count too."""
    model = nn.BatchNorm1d(11)  # 4 x 44 bytes, and a counter of 8
    size, limit, seen = 4 * 44 + 8, 700, list[int]()
    snapshots, copied = Snapshots(limit), module._copied

    def watched(model: nn.Module) -> dict[str, Tensor]:
        weights = copied(model)
        seen.append(snapshots.size + sum(value.nbytes for value in weights.values()))
        return weights

    monkeypatch.setattr(module, "_copied", watched)
    for epoch in range(6):
        snapshots(epoch, model)
    assert seen == [size, 2 * size, 3 * size, 3 * size, 3 * size, 3 * size]
    assert snapshots.size == 3 * size <= limit


def test_a_limit_below_two_snapshots_is_refused_at_the_first_call() -> None:
    snapshots = Snapshots(15, epochs=(5,))
    with pytest.raises(ValueError, match=r"memory is 15 bytes, but two snapshots .* take 16; give"):
        snapshots(0, number())
    assert snapshots.epochs == ()


def test_epochs_that_do_not_ascend_are_refused() -> None:
    snapshots, model = Snapshots(10**6), number()
    snapshots(2, model)
    with pytest.raises(ValueError, match="epoch 2 comes after epoch 2; make new snapshots"):
        snapshots(2, model)
    assert snapshots.epochs == (2,)


def test_an_epoch_without_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="no snapshot of epoch 1; those kept are: 0, 9"):
        taken(2 * SIZE, 9).model(1)
    with pytest.raises(ValueError, match="those kept are: none yet"):
        Snapshots(10**6).model(0)


def test_another_model_is_refused() -> None:
    snapshots = taken(10**6, 2)
    with pytest.raises(ValueError, match="those of another model; make new ones"):
        snapshots(3, number())
