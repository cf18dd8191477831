"""Up-convolutional inversion: sizes, standardization, and learning to give images back."""

import pytest
import torch
from torch import Tensor, nn

from fmlib.features import extractor, feature_maps
from fmlib.models import Scale, base_cnn, compact_cnn
from fmlib.visualization.upconvolution import (
    DecoderConfig,
    _standardizing,
    decoder,
    reconstruct,
    train_decoder,
)
from tests import toy


def scale(numbers: int) -> Scale:
    return Scale(torch.ones(numbers), torch.zeros(numbers))


@pytest.mark.parametrize(
    ("features", "image"),
    [
        ((24, 32, 32), (3, 32, 32)),
        ((24, 16, 16), (1, 32, 32)),
        ((64, 8, 8), (3, 32, 32)),
        ((15, 24, 24), (1, 28, 28)),
        ((30, 4, 4), (1, 28, 28)),
        ((512, 7, 7), (3, 224, 224)),
        ((13, 3, 5), (3, 20, 44)),
        ((10,), (1, 28, 28)),
        ((4,), (3, 32, 32)),
    ],
)
def test_any_layer_leads_back_to_the_size_of_the_image(
    features: tuple[int, ...], image: tuple[int, int, int]
) -> None:
    network = decoder(features, image, 4, 0, scale(features[0]))
    assert network(torch.ones(2, *features)).shape == (2, *image)


def test_maps_double_where_sizes_halve() -> None:
    """From 8x8 to 32x32 pixels: 64 maps to 32, 16 at 16x16, and the image's three."""
    network = decoder((64, 8, 8), (3, 32, 32), 8, 0, scale(64))
    weights = [tuple(p.shape[:2]) for p in network.parameters() if p.dim() == 4]
    assert weights == [(64, 32), (32, 16), (16, 3)] or weights == [(64, 32), (32, 16), (16, 8)]


def test_features_are_standardized_map_by_map() -> None:
    """The maps of `pixel_cnn` are x and 1 - x; a map that never changes is set to 0."""
    images = toy.random_images(50, size=2)
    model = toy.pixel_cnn()
    layer = _standardizing(extractor(model, ["conv1"]), "conv1", images)
    with torch.no_grad():
        found = layer(feature_maps(model, images, ["conv1"])["conv1"])
    torch.testing.assert_close(found.mean(dim=(0, 2, 3)), torch.zeros(2, dtype=torch.float64))
    deviation = found.std(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.ones(2, dtype=torch.float64))
    flat = _standardizing(extractor(model, ["conv1"]), "conv1", toy.flat_images(0.3, 0.3))
    with torch.no_grad():
        assert flat(torch.full((1, 2, 2, 2), 0.7).double()).abs().max() == 0


@pytest.fixture(scope="module")
def blobs() -> Tensor:
    """Smooth images: what upsampling can give back."""
    coarse = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    return torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")


def test_images_are_learnt_back_and_the_model_is_left_alone(blobs: Tensor) -> None:
    model = compact_cnn((1, 16, 16), 2, dtype=torch.float64)
    before = toy.snapshot(model)
    config = DecoderConfig(epochs=4, batch_size=20, learning_rate=0.01)
    found = train_decoder(model, "act2", blobs[:160], config, seed=0)
    pictures = reconstruct(found, feature_maps(model, blobs[160:], ["act2"])["act2"])
    mean = blobs[:160].mean(dim=0)
    error, known = ((p - blobs[160:]).square().mean() for p in (pictures, mean))
    assert error < known / 2
    assert len(found.losses) == 4
    assert found.losses[-1] < found.losses[0]
    assert toy.unchanged(model, before)
    assert toy.hook_count(model) == 0
    again = train_decoder(model, "act2", blobs[:160], config, seed=0)
    assert again.losses == found.losses


def test_layers_of_numbers_and_grey_images_can_be_inverted() -> None:
    model = base_cnn((1, 28, 28), 10)
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for layer in ("conv1", "fc2"):
        found = train_decoder(model, layer, images, DecoderConfig(epochs=1), seed=0)
        pictures = reconstruct(found, feature_maps(model, images, [layer])[layer])
        assert pictures.shape == images.shape
        assert pictures.min() >= 0
        assert pictures.max() <= 1


def test_what_cannot_be_inverted_is_refused() -> None:
    model = base_cnn((1, 28, 28), 10)
    config = DecoderConfig(epochs=1)
    with pytest.raises(ValueError, match="layer 'act9' does not exist; choose from"):
        train_decoder(model, "act9", torch.ones(2, 1, 28, 28), config, seed=0)
    with pytest.raises(ValueError, match=r"float64.*convert one"):
        train_decoder(model, "act1", torch.ones(2, 1, 28, 28).double(), config, seed=0)
    with pytest.raises(ValueError, match="takes no images of 3x28x28"):
        train_decoder(model, "act1", torch.ones(2, 3, 28, 28), config, seed=0)
    assert isinstance(model, nn.Module)
