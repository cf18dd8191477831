"""Net2Vec: a planted combination is found where no single unit is enough; counts by hand."""

import pytest
import torch
from torch import nn

from fmlib.visualization.concepts import Concept, ConceptImages
from fmlib.visualization.net2vec import Pixels, _best_cut, _iou, combine, fit

DOUBLE = torch.float64


def pixels(active: list[list[int]], labels: list[list[int]], concept: list[int]) -> Pixels:
    """Pixels of images that all have labels of one category, 100 in all."""
    there = torch.ones(len(labels), len(concept), dtype=torch.bool)
    return Pixels(
        torch.tensor(active).bool(), torch.tensor(labels).bool(), there, torch.tensor(concept),
        torch.full((len(concept),), 100),
    )  # fmt: skip


def test_a_concept_of_two_units_is_found() -> None:
    """The concept is where unit 0 is and unit 1 is not; unit 2 says nothing."""
    active = [[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 1]]
    labels = [[1], [0], [0], [1], [0], [0]]
    rows = pixels(active, labels, [2])
    weights = fit(rows)
    assert weights.shape == (1, 3)
    assert _iou(rows, weights, torch.zeros(1)).tolist() == [1.0]
    single = torch.eye(3, dtype=DOUBLE)[:1]
    assert _iou(rows, single, torch.zeros(1)).tolist() == [0.5]


def test_overlap_by_hand() -> None:
    """Chosen are 3 pixels, 2 of them of the concept, which has 5: 2 of 6."""
    rows = pixels([[1], [1], [1]], [[1], [1], [0]], [5])
    assert _iou(rows, torch.ones(1, 1, dtype=DOUBLE), torch.zeros(1)).tolist() == [
        pytest.approx(2 / 6)
    ]
    rows.counted[2] = False  # another category's image
    assert _iou(rows, torch.ones(1, 1, dtype=DOUBLE), torch.zeros(1)).tolist() == [
        pytest.approx(2 / 5)
    ]


def test_the_cut_that_fits_best_by_hand() -> None:
    """Sums 3, 2, 2, 1: 1 of 2 from 3 on, 2 of 3 from 2 on (both 2s together), 2 of 4 of all."""
    rows = pixels([[1, 1], [0, 1], [0, 1], [1, 0]], [[1], [1], [0], [0]], [2])
    weights = torch.tensor([[1.0, 2.0]], dtype=DOUBLE)
    assert _best_cut(rows, weights).tolist() == [2.0]
    assert _iou(rows, weights, torch.tensor([2.0])).tolist() == [pytest.approx(2 / 3)]
    assert _best_cut(rows, -weights).tolist() == [0.0]  # nothing lies above one half


def opposed_cnn() -> nn.Sequential:
    """Units: red, green and blue channel alone; yellow is only where red and green are high."""
    layer = nn.Conv2d(3, 3, 1, dtype=DOUBLE)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3)[:, :, None, None])
        layer.get_parameter("bias").zero_()
    return nn.Sequential(layer)


def test_combinations_of_generated_images() -> None:
    """Yellow is where red and green are strong and blue is not: no channel tells it from white."""
    learnt, tested = (ConceptImages(200, seed, dtype=DOUBLE) for seed in (0, 1))
    found = combine(opposed_cnn(), "0", learnt, tested, share=0.05, shares=(0.01, 0.1))
    yellow = found.concepts.index(Concept("yellow", "colour"))
    assert found.combined_free[yellow] > 2 * found.single_free[yellow]
    weights = found.weights[yellow]
    assert weights[0] > 0 or weights[1] > 0
    assert weights[2] < 0
    assert found.weights.shape == (21, 3)
    for measured in (found.single, found.combined, found.single_free, found.combined_free):
        assert measured.shape == (21,)
        assert ((measured >= 0) & (measured <= 1)).all()


def test_sets_of_other_concepts_are_refused() -> None:
    images = ConceptImages(20, 0, block=20, dtype=DOUBLE)

    class Others:
        concepts = (Concept("a", "b"),)

        def __iter__(self) -> object:
            return iter(images)

    with pytest.raises(ValueError, match="name different concepts"):
        combine(opposed_cnn(), "0", images, Others())  # type: ignore[arg-type]
