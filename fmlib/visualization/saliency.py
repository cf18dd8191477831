"""Saliency: which pixels a class's score depends on, by four methods that start from gradients.

The score is the logit; a Softmax or LogSoftmax that a network ends in is left out, since behind
it the score of a class falls whenever that of another one rises.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from fmlib.models import Scale, chunk_size, evaluating
from fmlib.visualization.judging import check_labels
from fmlib.visualization.units import output_shapes, undisturbed

KNOWN_MODULES = (
    nn.Conv2d,
    nn.ReLU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Linear,
    nn.BatchNorm2d,
    nn.Flatten,
    nn.Dropout,
    nn.Identity,
    Scale,
)
"""The modules that guided backpropagation knows; only at ReLU it differs from the gradient."""
KNOWN_OPERATIONS = ("flatten", "view", "reshape", "size", "contiguous", "cat", "add")
"""What a network may do between its modules."""


def gradient(
    model: nn.Module, images: Tensor, labels: Tensor, *, chunk: int | None = None
) -> Tensor:
    """Gradient of each image's class score by its pixels (Simonyan et al. 2014, section 3).

    Args:
        model: returns log-probabilities or logits (N, classes); any that `torch.fx` can trace.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) class whose score is explained.
        chunk: images computed at a time; None: `fmlib.models.chunk_size`.

    Returns:
        (N, C, H, W), score per unit of a pixel.

    Raises:
        ValueError: images and labels that do not fit, images that the model cannot take, classes
            that it does not have, a model that cannot be traced.
    """
    return _input_gradient(model, _trace(model), images, labels, chunk)


def gradient_times_input(
    model: nn.Module, images: Tensor, labels: Tensor, *, chunk: int | None = None
) -> Tensor:
    """Gradient times pixel (Shrikumar et al. 2016): what black pixels in place of the image cost.

    Exactly so for networks that are linear.  Takes the arguments of `gradient` and returns
    (N, C, H, W), in units of the score.
    """
    return images * gradient(model, images, labels, chunk=chunk)


def guided_backpropagation(
    model: nn.Module, images: Tensor, labels: Tensor, *, chunk: int | None = None
) -> Tensor:
    """Guided backpropagation (Springenberg et al. 2015, section 3.4).

    The gradient, but at every ReLU only what is positive passes back, and only where the
    activation is positive.  Takes the arguments of `gradient` and returns (N, C, H, W).

    Raises:
        ValueError: as for `gradient`; a network with parts that the rule says nothing about.
    """
    graph = _trace(model)
    for node in graph.graph.nodes:
        _check_known(graph, node)
    for node in graph.graph.nodes:
        if node.op == "call_module" and isinstance(graph.get_submodule(node.target), nn.ReLU):
            graph.set_submodule(node.target, _GuidedReLU())
    return _input_gradient(model, graph, images, labels, chunk)


def grad_cam(
    model: nn.Module, images: Tensor, labels: Tensor, layer: str, *, chunk: int | None = None
) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, section 3): maps weighed by their mean gradients.

    Args:
        model, images, labels, chunk: as for `gradient`.
        layer: name of a layer with maps, usually the last before the first linear layer.

    Returns:
        (N, P, Q), not negative, of the size of the layer's maps.

    Raises:
        ValueError: as for `gradient`; a layer that does not exist or has no maps.
    """
    if len(output_shapes(model, [layer], (*images.shape[1:],))[layer]) != 3:
        raise ValueError(
            f"layer {layer!r} has no maps; choose a convolution, activation or pooling"
        )
    graph = _trace(model, layer)
    pictures = []
    with undisturbed(model):
        _check(graph, images, labels)
        for part, target in _parts(images, labels, chunk):
            scores, maps = graph(part.detach().requires_grad_())
            grads = torch.autograd.grad(_chosen(scores, target), maps)[0]
            weights = grads.mean(dim=(2, 3), keepdim=True)  # (n, maps, 1, 1)
            pictures.append((weights * maps.detach()).sum(dim=1).relu())  # (n, P, Q)
    return torch.cat(pictures)


def _input_gradient(
    model: nn.Module, graph: fx.GraphModule, images: Tensor, labels: Tensor, chunk: int | None
) -> Tensor:
    """Gradients (N, C, H, W) of class scores, by the backward rules of a traced copy."""
    found = []
    with undisturbed(model):
        _check(graph, images, labels)
        for part, target in _parts(images, labels, chunk):
            pixels = part.detach().clone().requires_grad_()
            scores, _ = graph(pixels)
            found.append(torch.autograd.grad(_chosen(scores, target), pixels)[0])
    return torch.cat(found)


def _parts(images: Tensor, labels: Tensor, chunk: int | None) -> list[tuple[Tensor, Tensor]]:
    """Images and labels, so many at a time."""
    size = chunk or chunk_size(images)
    return list(zip(images.split(size), labels.split(size), strict=True))


def _chosen(scores: Tensor, labels: Tensor) -> Tensor:
    """Sum of the scores (N, classes) of each image's class; images do not mix in its gradient."""
    return scores.gather(1, labels[:, None].to(scores.device)).sum()


def _check(graph: fx.GraphModule, images: Tensor, labels: Tensor) -> None:
    """Refuse images that the network cannot take, and classes that it does not have."""
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(
            f"there are {len(images)} images and {len(labels)} labels; give as many, at least one"
        )
    try:
        with torch.no_grad():
            scores, _ = graph(images[:1])
    except RuntimeError as error:
        size = "x".join(map(str, images.shape[1:]))
        raise ValueError(f"the model takes no images of {size} ({error})") from error
    check_labels(labels, scores.shape[1])


class _GuidedReLU(nn.Module):
    """ReLU with the backward rule of guided backpropagation."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Take the positive part."""
        rectified: Tensor = _Guided.apply(inputs)  # type: ignore[no-untyped-call]
        return rectified


class _Guided(torch.autograd.Function):
    """Passes what is positive, forward and backward."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        outputs = inputs.clamp_min(0)
        ctx.save_for_backward(outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (outputs,) = ctx.saved_tensors
        passed: Tensor = grads[0].clamp_min(0) * (outputs > 0)
        return passed


def _check_known(graph: fx.GraphModule, node: fx.Node) -> None:
    """Refuse a step of a network that guided backpropagation has no rule for."""
    if node.op == "call_module":
        module = graph.get_submodule(str(node.target))
        known, what = isinstance(module, KNOWN_MODULES), type(module).__name__
    else:
        what = _operation(node)
        known = node.op not in ("call_function", "call_method") or what in KNOWN_OPERATIONS
    if not known:
        modules = ", ".join(kind.__name__ for kind in KNOWN_MODULES)
        raise ValueError(
            f"guided backpropagation has no rule for {what} ({node.name}); it knows the modules "
            f"{modules}, and between them {', '.join(KNOWN_OPERATIONS)}"
        )


class _Tracer(fx.Tracer):
    """Takes the book's layers for single ones, as PyTorch's own, and one more by its name."""

    def __init__(self, layer: str | None) -> None:
        super().__init__()
        self._layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether to look no further into a module."""
        return (
            module_qualified_name == self._layer
            or isinstance(m, Scale | nn.MaxPool2d)
            or super().is_leaf_module(m, module_qualified_name)
        )


def _trace(model: nn.Module, layer: str | None = None) -> fx.GraphModule:
    """A copy of a network that shares its weights and returns logits and a layer's maps.

    A last softmax is left out; without a layer, None takes the place of its maps.
    """
    try:
        with evaluating(model):
            graph = _Tracer(layer).trace(model)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"the model cannot be traced ({error}); give one that does the same for every image"
        ) from error
    output = graph.output_node()
    last = output.args[0]
    if not isinstance(last, fx.Node):
        raise ValueError("the model returns several outputs; give one that returns (N, classes)")
    maps = [node for node in graph.nodes if node.op == "call_module" and node.target == layer]
    softmax = _is_softmax(model, last)
    scores = last.all_input_nodes[0] if softmax else last
    output.args = ((scores, maps[-1] if maps else None),)
    if softmax:
        graph.erase_node(last)
    return fx.GraphModule(model, graph)


def _is_softmax(model: nn.Module, node: fx.Node) -> bool:
    """Whether a step of a network is a softmax or its logarithm, as a module or a function."""
    if node.op == "call_module":
        return isinstance(model.get_submodule(str(node.target)), nn.Softmax | nn.LogSoftmax)
    return _operation(node) in ("softmax", "log_softmax")


def _operation(node: fx.Node) -> str:
    """Name of the function or method that a step of a network calls."""
    return node.target if isinstance(node.target, str) else node.target.__name__
