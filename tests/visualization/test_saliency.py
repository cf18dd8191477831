"""Saliency: by hand on small networks, against captum, and what must stay as it was."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from captum.attr import GuidedBackprop, InputXGradient, LayerGradCam, Saliency
from torch import Tensor, nn
from torch.nn import functional as F

from fmlib import torchvision_compat as torchvision_compat  # must precede torchvision
from fmlib.models import base_cnn, compact_cnn
from fmlib.visualization import saliency
from tests import toy

METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "gradient": saliency.gradient,
    "gradient_times_input": saliency.gradient_times_input,
    "guided_backpropagation": saliency.guided_backpropagation,
    "grad_cam": partial(saliency.grad_cam, layer="conv2"),
}


def _compact() -> tuple[nn.Sequential, Tensor, Tensor]:
    """The compact network in float64, five colour images and their classes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 16, 16, generator=generator, dtype=torch.float64)
    return compact_cnn((3, 16, 16), 4, dtype=torch.float64), images, toy.random_labels(5, 4)


def test_gradient_of_a_linear_network_is_its_row() -> None:
    """The logit's, which the softmax that follows leaves alone."""
    rows = [[1.0, -2.0, 0.0, 5.0], [3.0, 0.0, 1.0, 0.5]]
    model, images = toy.linear_net(rows), toy.flat_images(0.5, 0.2)
    labels = torch.tensor([1, 0])
    found = saliency.gradient(model, images, labels)
    assert found.flatten(1).tolist() == [rows[1], rows[0]]
    found = saliency.gradient_times_input(model, images, labels)
    assert found.flatten(1).tolist() == [[0.5 * w for w in rows[1]], [0.2 * w for w in rows[0]]]


def _two_ways(weight: list[list[float]]) -> nn.Sequential:
    """Two hidden units x + y and x - y of the two pixels, rectified, then the given rows."""
    hidden, output = nn.Linear(2, 2, bias=False).double(), nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        output.weight.copy_(torch.tensor(weight))
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(inplace=True), output)


def test_guided_backpropagation_by_hand() -> None:
    """Class 0 is unit 0 minus unit 1, class 1 is their sum.

    The first image, (2, 1), has both units on: what comes down from unit 1 of class 0 is
    negative and stops.  In the second, (1, 2), unit 1 is off and stops class 1.
    """
    model = _two_ways([[1.0, -1.0], [1.0, 1.0]])
    images = torch.tensor([[2.0, 1.0], [2.0, 1.0], [1.0, 2.0]]).double().reshape(3, 1, 1, 2)
    labels = torch.tensor([0, 1, 1])
    plain = saliency.gradient(model, images, labels).flatten(1)
    guided = saliency.guided_backpropagation(model, images, labels).flatten(1)
    assert plain.tolist() == [[0, 2], [2, 0], [1, 1]]
    assert guided.tolist() == [[1, 1], [2, 0], [1, 1]]


def test_grad_cam_by_hand() -> None:
    """Both maps of `diagonal_cnn`'s conv2 weigh 1 for their own class and 0 for the other."""
    model, images = toy.diagonal_cnn(), toy.random_images(3)
    maps = model[:5](images)
    for label in (0, 1):
        found = saliency.grad_cam(model, images, torch.full((3,), label), "conv2")
        assert torch.allclose(found, maps[:, label].relu())


@pytest.mark.parametrize("chunk", [None, 2])
def test_equal_to_captum(chunk: int | None) -> None:
    model, images, labels = _compact()
    logits = model[:-1]
    given = images.clone().requires_grad_()
    for method, reference in (
        (saliency.gradient, Saliency(logits).attribute(given, labels, abs=False)),
        (saliency.gradient_times_input, InputXGradient(logits).attribute(given, labels)),
    ):
        assert torch.allclose(method(model, images, labels, chunk=chunk), reference, 0, 1e-12)
    with pytest.warns(UserWarning, match="backward hooks"):
        expected = GuidedBackprop(logits).attribute(given, labels)
    found = saliency.guided_backpropagation(model, images, labels, chunk=chunk)
    assert torch.allclose(found, expected, 0, 1e-12)
    assert not torch.allclose(found, saliency.gradient(model, images, labels), 0, 1e-4)


@pytest.mark.parametrize("layer", ["conv1", "act2", "pool3"])
def test_grad_cam_equals_captum(layer: str) -> None:
    model, images, labels = _compact()
    reference = LayerGradCam(model[:-1], model.get_submodule(layer))
    expected = reference.attribute(images, labels, relu_attributions=True)
    found = saliency.grad_cam(model, images, labels, layer, chunk=2)
    assert found.max() > 0
    assert torch.allclose(found, expected[:, 0], 0, 1e-12)


def test_branches_and_containers_of_torchvision() -> None:
    """SqueezeNet concatenates branches, rectifies in place and ends in pooling."""
    from torchvision.models import squeezenet1_1

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = squeezenet1_1(num_classes=5).double().train()
    before, images = toy.snapshot(model), torch.rand(2, 3, 64, 64, dtype=torch.float64)
    labels = model.eval()(images).argmax(dim=1)
    model.train()
    found = saliency.guided_backpropagation(model, images, labels)
    assert found.abs().sum() > 0
    assert saliency.grad_cam(model, images, labels, "features").shape == (2, 3, 3)
    assert toy.unchanged(model, before)
    assert model.features[1].inplace is True
    model.eval()
    with pytest.warns(UserWarning, match="backward hooks"):
        expected = GuidedBackprop(model).attribute(images.requires_grad_(), labels)
    assert torch.allclose(found, expected, 0, 1e-12)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_looking_changes_nothing(name: str, dtype: torch.dtype) -> None:
    model = base_cnn(dtype=dtype).train()
    before = toy.snapshot(model)
    images = toy.random_images(3, size=28).to(dtype)
    kept, modules = images.clone(), list(model.named_modules())
    found = METHODS[name](model, images, torch.tensor([0, 1, 9]))
    assert found.dtype == dtype
    assert found.shape == (images[:, 0, :8, :8] if name == "grad_cam" else images).shape
    assert not found.requires_grad
    assert torch.equal(images, kept)
    assert not images.requires_grad
    assert toy.unchanged(model, before)
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    assert toy.hook_count(model) == 0
    assert list(model.named_modules()) == modules
    assert model.training


class _Functional(nn.Module):
    """Rectifies and takes the softmax by functions; nothing else is asked of it."""

    def __init__(self, rectify: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc, self.rectify = nn.Linear(4, 2), rectify

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.rectify(self.fc(images.flatten(1))), dim=1)


def test_a_softmax_called_as_a_function_is_left_out() -> None:
    model = _Functional(torch.relu).double()
    images = toy.flat_images(0.5)
    on = model.fc(images.flatten(1))[0] > 0
    for label in (0, 1):
        found = saliency.gradient(model, images, torch.tensor([label]))
        expected = model.fc.weight[label] * on[label]
        assert torch.equal(found.flatten(), expected)


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (nn.LeakyReLU(), r"LeakyReLU \(_1\)"),
        (nn.GELU(), "GELU"),
        (nn.Sigmoid(), "Sigmoid"),
        (nn.Softmax(dim=1), "Softmax"),
    ],
)
def test_guided_backpropagation_refuses_what_it_has_no_rule_for(
    module: nn.Module, what: str
) -> None:
    model = nn.Sequential(nn.Flatten(), module, nn.Linear(4, 2))
    with pytest.raises(ValueError, match=f"no rule for {what}.*modules Conv2d, ReLU, MaxPool2d"):
        saliency.guided_backpropagation(model, toy.flat_images(0.5).float(), torch.tensor([0]))


@pytest.mark.parametrize("function", [torch.relu, F.relu, torch.tanh])
def test_guided_backpropagation_refuses_functions_that_it_cannot_replace(
    function: Callable[[Tensor], Tensor],
) -> None:
    model, images = _Functional(function), toy.flat_images(0.5).float()
    with pytest.raises(ValueError, match=f"no rule for {function.__name__}"):
        saliency.guided_backpropagation(model, images, torch.tensor([0]))


class _Deciding(nn.Module):
    """Decides by the values of its input."""

    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


@pytest.mark.parametrize("name", METHODS)
def test_bad_input_is_refused(name: str) -> None:
    model, images = toy.diagonal_cnn(), toy.random_images(2)
    for given, labels, message in (
        (images, torch.tensor([0]), "2 images and 1 labels"),
        (images[:0], torch.tensor([0])[:0], "0 images and 0 labels"),
        (images, torch.tensor([0, 2]), "contain 2, but the model has classes 0 to 1"),
        (images[:, :, :3], torch.tensor([0, 1]), "takes no images of 1x3x6"),
    ):
        with pytest.raises(ValueError, match=message):
            METHODS[name](model, given, labels)
    if name != "grad_cam":
        with pytest.raises(ValueError, match="cannot be traced"):
            METHODS[name](_Deciding(), images, torch.tensor([0, 0]))


def test_grad_cam_refuses_layers_without_maps() -> None:
    model, images = toy.diagonal_cnn(), toy.random_images(1)
    with pytest.raises(ValueError, match="layer 'fc1' has no maps; choose a convolution"):
        saliency.grad_cam(model, images, torch.tensor([0]), "fc1")
    with pytest.raises(ValueError, match="layer 'conv9' does not exist; choose from scale, conv1"):
        saliency.grad_cam(model, images, torch.tensor([0]), "conv9")
