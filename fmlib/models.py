"""The small CNNs of the paper; scaling of the input is their first layer.

Images are stored in [0, 1] everywhere.  What a network is fed (0..255, 0..1, standardized)
is decided by its first layer, `scale`, so that attacks, caches and figures speak of [0, 1]
only.  Every model is a `torch.nn.Sequential` with named layers: `model[1:]` is the network
without the scaling, for inputs such as feature maps that are not images in [0, 1].
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from math import prod
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from fmlib import data

InputScale = Literal["255", "unit", "standardized"]
Activation = Literal["relu", "leaky_relu"]
ModelName = Literal[
    "base_cnn",
    "fashion_cnn",
    "deep_cnn",
    "compact_cnn",
    "zf_cnn",
    "resnet18",
    "squeezenet",
    "vgg16",
]
LargeName = Literal["squeezenet", "vgg16"]
ImageShape = tuple[int, int, int]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}


def chunk_size(images: Tensor) -> int:
    """How many images to compute at a time: 64 in float32, 32 in float64; on a GPU 8192.

    Few enough on a processor that memory is reused instead of being mapped anew, which at a few
    hundred costs as much as the arithmetic; enough to keep the cores busy.
    """
    return 256 // images.element_size() if images.device.type == "cpu" else 8192


class Scale(nn.Module):
    """Multiply pixels by `factor` and add `shift`, channel by channel."""

    factor: Tensor
    shift: Tensor

    def __init__(self, factor: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor.reshape(-1, 1, 1))  # (C or 1, 1, 1)
        self.register_buffer("shift", shift.reshape(-1, 1, 1))  # (C or 1, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Scale images of shape (N, C, H, W)."""
        return images * self.factor + self.shift


def scale_layer(input_scale: InputScale, dtype: torch.dtype, images: Tensor | None = None) -> Scale:
    """First layer of a model: from pixels in [0, 1] to what the network is fed.

    Args:
        input_scale: `255` multiplies by 255 (as released for MNIST), `unit` changes
            nothing, `standardized` makes mean 0 and deviation 1 per channel.
        dtype: type of the factors.
        images: images (N, C, H, W) whose mean and deviation standardize; only for that.
    """
    if input_scale not in get_args(InputScale):
        choices = ", ".join(get_args(InputScale))
        raise ValueError(f"input_scale {input_scale!r} is not known; choose one of {choices}")
    if input_scale != "standardized":
        factor = 255.0 if input_scale == "255" else 1.0
        return Scale(torch.tensor(factor, dtype=dtype), torch.tensor(0.0, dtype=dtype))
    if images is None:
        raise ValueError("input_scale 'standardized' needs images to take mean and deviation from")
    mean = images.to(dtype).mean(dim=(0, 2, 3))
    deviation = images.to(dtype).std(dim=(0, 2, 3)).clamp_min(1e-6)
    return Scale(1 / deviation, -mean / deviation)


class MaxPool2d(nn.MaxPool2d):
    """Max pooling over channels-last memory, on a processor five times faster than otherwise."""

    def forward(self, maps: Tensor) -> Tensor:
        """Pool maps of shape (N, C, H, W)."""
        channels_last = maps.permute(0, 2, 3, 1).contiguous()  # (N, H, W, C)
        pooled: Tensor = super().forward(channels_last.permute(0, 3, 1, 2))
        return pooled


def _network(dtype: torch.dtype, **layers: nn.Module) -> nn.Sequential:
    """The layers in order, with weights in the memory layout that is fastest for their type."""
    model = nn.Sequential(OrderedDict(layers))
    if dtype == torch.float64:  # its convolutions copy channels-last weights at every call
        return model
    return nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)


def base_cnn(
    image_shape: ImageShape = (1, 28, 28),
    n_classes: int = 10,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    activation: Activation = "relu",
    scale: Scale | None = None,
) -> nn.Sequential:
    """The base CNN of anand2022, section 6.1, with the sizes of the released code.

    Two 5x5 convolutions to 15 and 30 maps, each followed by max pooling and the activation,
    then two linear layers (64 hidden units) and log-softmax.

    Args:
        image_shape: channels, height and width of the images, at least 16x16 pixels.
        n_classes: number of classes.
        seed: seed of PyTorch's default initialization.
        dtype: type that the weights are drawn in.
        activation: `relu` or `leaky_relu`.
        scale: first layer; default 0..255 (`scale_layer("255")`).
    """
    channels, height, width = image_shape
    if min(height, width) < 16:
        raise ValueError(f"images are {height}x{width}; base_cnn needs at least 16x16 pixels")
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"activation {activation!r} is not known; choose one of {list(_ACTIVATIONS)}"
        )
    act = _ACTIVATIONS[activation]
    flat = 30 * (((height - 4) // 2 - 4) // 2) * (((width - 4) // 2 - 4) // 2)
    with seeded(seed):
        return _network(
            dtype,
            scale=scale or scale_layer("255", dtype),
            conv1=nn.Conv2d(channels, 15, 5, dtype=dtype),
            pool1=MaxPool2d(2),
            act1=act(),
            conv2=nn.Conv2d(15, 30, 5, dtype=dtype),
            pool2=MaxPool2d(2),
            act2=act(),
            flatten=nn.Flatten(),
            fc1=nn.Linear(flat, 64, dtype=dtype),
            act3=act(),
            fc2=nn.Linear(64, n_classes, dtype=dtype),
            log_softmax=nn.LogSoftmax(dim=1),
        )


def fashion_cnn(
    image_shape: ImageShape = (1, 28, 28),
    n_classes: int = 10,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    scale: Scale | None = None,
) -> nn.Sequential:
    """The network behind the Fashion-MNIST row of anand2022, Figure 9, as released.

    Two 3x3 convolutions to 32 and 64 maps with ReLU and pooling, then three linear layers
    without activation between them and log-softmax.  Arguments as for `base_cnn`, images of
    at least 8x8 pixels; the default first layer changes nothing (0..1).
    """
    channels, height, width = image_shape
    if min(height, width) < 8:
        raise ValueError(f"images are {height}x{width}; fashion_cnn needs at least 8x8 pixels")
    flat = 64 * ((height // 2 - 2) // 2) * ((width // 2 - 2) // 2)
    with seeded(seed):
        return _network(
            dtype,
            scale=scale or scale_layer("unit", dtype),
            conv1=nn.Conv2d(channels, 32, 3, padding=1, dtype=dtype),
            act1=nn.ReLU(),
            pool1=MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 3, dtype=dtype),
            act2=nn.ReLU(),
            pool2=MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(flat, 600, dtype=dtype),
            fc2=nn.Linear(600, 120, dtype=dtype),
            fc3=nn.Linear(120, n_classes, dtype=dtype),
            log_softmax=nn.LogSoftmax(dim=1),
        )


DEEP_WIDTHS = (16, 32, 64, 64)
"""Maps of each convolution of `deep_cnn`."""


def deep_cnn(
    image_shape: ImageShape = (3, 32, 32),
    n_classes: int = 10,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    scale: Scale | None = None,
) -> nn.Sequential:
    """A small network in the manner of VGG (Simonyan and Zisserman 2015), for colour images.

    Four 3x3 convolutions with padding 1 to 16, 32, 64 and 64 maps, each followed by max pooling
    and ReLU, then two linear layers (64 hidden units) and log-softmax.  Arguments as for
    `base_cnn`, images of at least 16x16 pixels; the default first layer changes nothing (0..1).
    """
    channels, height, width = image_shape
    if min(height, width) < 16:
        raise ValueError(f"images are {height}x{width}; deep_cnn needs at least 16x16 pixels")
    flat = DEEP_WIDTHS[-1] * (height // 16) * (width // 16)
    with seeded(seed):
        blocks: dict[str, nn.Module] = {}
        for number, (before, maps) in enumerate(pairwise((channels, *DEEP_WIDTHS)), start=1):
            blocks[f"conv{number}"] = nn.Conv2d(before, maps, 3, padding=1, dtype=dtype)
            blocks[f"pool{number}"] = MaxPool2d(2)
            blocks[f"act{number}"] = nn.ReLU()
        return _network(
            dtype,
            scale=scale or scale_layer("unit", dtype),
            **blocks,
            flatten=nn.Flatten(),
            fc1=nn.Linear(flat, 64, dtype=dtype),
            act5=nn.ReLU(),
            fc2=nn.Linear(64, n_classes, dtype=dtype),
            log_softmax=nn.LogSoftmax(dim=1),
        )


COMPACT_WIDTHS = (24, 32, 64)
"""Maps of each convolution of `compact_cnn`."""


def compact_cnn(
    image_shape: ImageShape = (3, 32, 32),
    n_classes: int = 10,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    scale: Scale | None = None,
    widths: tuple[int, int, int] = COMPACT_WIDTHS,
    batch_norm: bool = False,
) -> nn.Sequential:
    """A network small enough to be trained on colour images in float64 while a page is made.

    Three 3x3 convolutions with padding 1 to `widths` maps, each followed by ReLU and max
    pooling as in Zeiler and Fergus (2014), then one linear layer and log-softmax.  With
    `batch_norm` the maps are normalized before the ReLU, and bias is left to that.  Arguments as
    for `base_cnn`, images of at least 8x8 pixels; the default first layer changes nothing (0..1).
    """
    channels, height, width = image_shape
    if min(height, width) < 8:
        raise ValueError(f"images are {height}x{width}; compact_cnn needs at least 8x8 pixels")
    flat = widths[-1] * (height // 8) * (width // 8)
    with seeded(seed):
        blocks: dict[str, nn.Module] = {}
        for number, (before, maps) in enumerate(pairwise((channels, *widths)), start=1):
            blocks[f"conv{number}"] = nn.Conv2d(
                before, maps, 3, padding=1, bias=not batch_norm, dtype=dtype
            )
            if batch_norm:
                blocks[f"norm{number}"] = nn.BatchNorm2d(maps, dtype=dtype)
            blocks[f"act{number}"] = nn.ReLU()
            blocks[f"pool{number}"] = MaxPool2d(2)
        return _network(
            dtype,
            scale=scale or scale_layer("unit", dtype),
            **blocks,
            flatten=nn.Flatten(),
            fc=nn.Linear(flat, n_classes, dtype=dtype),
            log_softmax=nn.LogSoftmax(dim=1),
        )


class ZfLayers(NamedTuple):
    """Maps of the five convolutions of `zf_cnn` and units of its two hidden linear layers.

    They are layers 1 to 7 of Zeiler and Fergus (2014); 0 stands for a layer that is left out.
    """

    conv1: int = 16
    conv2: int = 32
    conv3: int = 48
    conv4: int = 48
    conv5: int = 32
    fc6: int = 384
    fc7: int = 384

    def without(self, *layers: str) -> "ZfLayers":
        """The same without some layers, which are given by their names."""
        return self.scaled(0, *layers)

    def scaled(self, factor: float, *layers: str) -> "ZfLayers":
        """The same with so many times as many maps or units in some layers."""
        for layer in layers:
            if layer not in self._fields:
                raise ValueError(
                    f"layer {layer!r} does not exist; choose from {', '.join(self._fields)}"
                )
        return self._replace(**{layer: round(factor * getattr(self, layer)) for layer in layers})


ZF_POOLED = ("conv1", "conv2", "conv5")
"""Convolutions of `zf_cnn` that max pooling follows, as in Zeiler and Fergus (2014)."""


LAST_SCALE = 0.01
"""Deviation of the last layer's first weights in `zf_cnn`, as published for all of them: larger
ones favour some classes before anything is learnt, and training under dropout may not recover."""


def zf_cnn(
    image_shape: ImageShape = (3, 28, 28),
    n_classes: int = 10,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    scale: Scale | None = None,
    layers: ZfLayers = ZfLayers(),  # noqa: B008
    dropout: float = 0.5,
    weight_scale: float | None = None,
) -> nn.Sequential:
    """The network of Zeiler and Fergus (2014), scaled to small images (masum2022, Figure 2).

    Five convolutions with ReLU, the first of 5x5 and the others of 3x3, padded; max pooling after
    the first, the second and the fifth; two hidden linear layers with ReLU and dropout, and
    log-softmax.  Contrast normalization and strides, of use for large images, are left out.
    Arguments as for `base_cnn`, images of at least 8x8 pixels, and:

    Args:
        image_shape, n_classes, dtype, scale: as for `base_cnn`; the default first layer changes
            nothing (0..1).
        seed: of the first weights; layers of one size begin alike in all networks of a seed.
        layers: widths of the layers; 0 leaves one out.
        dropout: share of hidden linear units set to zero in training, 0 to below 1.
        weight_scale: deviation of the weights at the start; None: sqrt(2 / inputs of a unit), by
            which signals keep their size through any number of layers (He et al. 2015), and
            `LAST_SCALE` in the last layer.

    Raises:
        ValueError: images that are too small, widths below 0 or a first, second or fifth
            convolution left out, dropout or weight scale out of range.
    """
    channels, height, width = image_shape
    if min(height, width) < 8:
        raise ValueError(f"images are {height}x{width}; zf_cnn needs at least 8x8 pixels")
    _check_zf(layers, dropout, weight_scale)
    blocks: dict[str, nn.Module] = {}
    before = channels
    for name, maps in list(layers._asdict().items())[:5]:
        if maps:
            kernel, number = (5 if name == "conv1" else 3), name[-1]
            blocks[name] = skip_init(
                nn.Conv2d, before, maps, kernel, padding=kernel // 2, dtype=dtype
            )
            blocks[f"act{number}"] = nn.ReLU()
            before = maps
        if name in ZF_POOLED:
            blocks[f"pool{name[-1]}"] = MaxPool2d(2)
    blocks["flatten"] = nn.Flatten()
    before *= (height // 8) * (width // 8)
    for name in ("fc6", "fc7"):
        if units := getattr(layers, name):
            blocks[name] = skip_init(nn.Linear, before, units, dtype=dtype)
            blocks[f"act{name[-1]}"] = nn.ReLU()
            blocks[f"dropout{name[-1]}"] = nn.Dropout(dropout)
            before = units
    blocks["fc8"] = skip_init(nn.Linear, before, n_classes, dtype=dtype)
    for name, layer in blocks.items():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            deviation = LAST_SCALE if name == "fc8" else math.sqrt(2 / layer.weight[0].numel())
            _draw(layer, weight_scale or deviation, 8 * seed + int(name[-1]))
    first = scale or scale_layer("unit", dtype)
    return _network(dtype, scale=first, **blocks, log_softmax=nn.LogSoftmax(dim=1))


def _check_zf(layers: ZfLayers, dropout: float, weight_scale: float | None) -> None:
    if min(layers) < 0 or 0 in (layers.conv1, layers.conv2, layers.conv5):
        raise ValueError(
            f"layers is {layers}; give numbers from 0, and from 1 for conv1, conv2 and conv5"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; give a share from 0 to below 1")
    if weight_scale is not None and not 0 < weight_scale < math.inf:
        raise ValueError(f"weight_scale is {weight_scale}; give a number above 0, or None")


def _draw(layer: nn.Conv2d | nn.Linear, deviation: float, seed: int) -> None:
    """Weights of a layer from a normal distribution around 0, biases 0.

    Each layer has a seed of its own, so that those of one size begin alike in all networks.
    """
    with seeded(seed):
        nn.init.normal_(layer.weight, std=deviation)
    nn.init.zeros_(layer.get_parameter("bias"))


def resnet18(
    image_shape: ImageShape = (3, 32, 32),
    n_classes: int = 10,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    scale: Scale | None = None,
    width: int = 64,
) -> nn.Sequential:
    """ResNet18 (He et al. 2016) for small images, of any width.

    torchvision's blocks and initialization; the first convolution is 3x3 without stride or
    pooling after it, so that images of 32x32 pixels keep their size until the second of four
    stages.  Arguments as for `base_cnn`, images of at least 8x8 pixels, and `width`, the maps of
    the first stage, which doubles with each further one; the default first layer changes
    nothing (0..1).
    """
    from torchvision.models.resnet import BasicBlock  # imported here: it takes seconds

    channels, height, images_width = image_shape
    if min(height, images_width) < 8:
        raise ValueError(f"images are {height}x{images_width}; resnet18 needs at least 8x8 pixels")
    if width < 1:
        raise ValueError(f"width is {width}; give a whole number from 1")
    with seeded(seed):
        stages: dict[str, nn.Module] = {}
        for number, (before, maps) in enumerate(
            pairwise((width, *(width * 2**stage for stage in range(4)))), start=1
        ):
            shortcut = None
            if maps != before:
                convolution = nn.Conv2d(before, maps, 1, stride=2, bias=False)
                shortcut = nn.Sequential(convolution, nn.BatchNorm2d(maps))
            first = BasicBlock(before, maps, stride=maps // before, downsample=shortcut)
            stages[f"layer{number}"] = nn.Sequential(first, BasicBlock(maps, maps))
        model = nn.Sequential(
            OrderedDict(
                scale=scale or scale_layer("unit", dtype),
                conv1=nn.Conv2d(channels, width, 3, padding=1, bias=False),
                bn1=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
                **stages,
                avgpool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc=nn.Linear(8 * width, n_classes),
                log_softmax=nn.LogSoftmax(dim=1),
            )
        ).to(dtype)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return model


def _imagenet_scale(dtype: torch.dtype) -> Scale:
    """What torchvision's networks were trained with: mean and deviation of ImageNet's pixels."""
    mean, deviation = (
        torch.tensor(values, dtype=dtype)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return Scale(1 / deviation, -mean / deviation)


def squeezenet(
    image_shape: ImageShape = (3, 224, 224),
    n_classes: int = 1000,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    scale: Scale | None = None,
) -> nn.Sequential:
    """SqueezeNet 1.1 (Iandola et al. 2016) without the ReLU after its last convolution.

    That ReLU leaves a class without gradient wherever its logit is below 0.  The layers of
    torchvision's network are `features`, its last convolution is `fc`.  Arguments as for
    `base_cnn`, colour images of at least 32x32 pixels; the default first layer standardizes by
    ImageNet's mean and deviation.
    """
    from torchvision.models import squeezenet1_1  # imported here: it takes seconds

    _check_large("squeezenet", image_shape)
    with seeded(seed):
        whole = squeezenet1_1(num_classes=n_classes)
    return nn.Sequential(
        OrderedDict(
            scale=scale or _imagenet_scale(dtype),
            features=whole.features,
            dropout=whole.classifier[0],
            fc=whole.classifier[1],
            pool=whole.classifier[3],
            flatten=nn.Flatten(),
            log_softmax=nn.LogSoftmax(dim=1),
        )
    ).to(dtype)


def vgg16(
    image_shape: ImageShape = (3, 224, 224),
    n_classes: int = 1000,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    scale: Scale | None = None,
) -> nn.Sequential:
    """VGG-16 (Simonyan and Zisserman 2015), the network of punjabi2017; 138 million weights.

    The layers of torchvision's network are `features` and `classifier`, its last linear layer
    is `fc`.  Arguments and first layer as for `squeezenet`.
    """
    from torchvision.models import vgg16 as torchvision_vgg16  # imported here: it takes seconds

    _check_large("vgg16", image_shape)
    with seeded(seed):
        whole = torchvision_vgg16(num_classes=n_classes)
    return nn.Sequential(
        OrderedDict(
            scale=scale or _imagenet_scale(dtype),
            features=whole.features,
            pool=whole.avgpool,
            flatten=nn.Flatten(),
            classifier=whole.classifier[:-1],
            fc=whole.classifier[-1],
            log_softmax=nn.LogSoftmax(dim=1),
        )
    ).to(dtype)


def _check_large(name: LargeName, image_shape: ImageShape) -> None:
    channels, height, width = image_shape
    if channels != 3 or min(height, width) < 32:
        raise ValueError(
            f"images are {channels}x{height}x{width}; {name} needs three channels and at least "
            "32x32 pixels"
        )


def class_layer(model: nn.Module) -> str:
    """Name of the last layer with weights, whose outputs are the classes' logits."""
    named: list[str] = [
        n for n, layer in model.named_modules() if [*layer.parameters(recurse=False)]
    ]
    if not named:
        raise ValueError("the model has no layer with weights, and so none of logits")
    return named[-1]


def with_weights(model: nn.Sequential, trained: Mapping[str, Tensor]) -> nn.Sequential:
    """Copy the weights of all layers but the last from a network trained on other classes.

    Args:
        model: changed in place, and returned.
        trained: `state_dict` of a network of the same layers, but for the number of classes.

    Raises:
        ValueError: weights that do not fit; the message names the first.
    """
    head = f"{class_layer(model)}."
    own = model.state_dict()
    for name, value in own.items():
        if name.startswith(("scale.", head)):
            continue
        if name not in trained or trained[name].shape != value.shape:
            raise ValueError(
                f"the weights given do not fit: layer {name} has {tuple(value.shape)} numbers, "
                f"they {tuple(trained[name].shape) if name in trained else 'have none'}"
            )
        value.copy_(trained[name])
    return model


def imagenet(name: LargeName, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """`squeezenet` or `vgg16` with torchvision's weights for the 1,000 classes of ImageNet.

    Raises:
        ValueError: another name, or a file with the weights of another network.
        FileNotFoundError: weights that are neither in `fmlib.data.data_folder()` nor to be
            downloaded.
    """
    if name not in get_args(LargeName):
        raise ValueError(
            f"there are no ImageNet weights of {name!r}; choose one of "
            f"{', '.join(get_args(LargeName))}"
        )
    model = NETWORKS[name](dtype=dtype)
    named = {"squeezenet": ("classifier.1", "fc"), "vgg16": ("classifier.6", "fc")}[name]
    weights = {key.replace(*named): value for key, value in data.imagenet_weights(name).items()}
    own = {key: value.shape for key, value in model.state_dict().items() if key[:6] != "scale."}
    if own != {key: value.shape for key, value in weights.items()}:
        raise ValueError(
            f"the file of the weights of {name} in {data.data_folder()} holds others; delete it"
        )
    model.load_state_dict(weights, strict=False)
    return model


NETWORKS: dict[ModelName, Callable[..., nn.Sequential]] = {
    "base_cnn": base_cnn,
    "fashion_cnn": fashion_cnn,
    "deep_cnn": deep_cnn,
    "compact_cnn": compact_cnn,
    "zf_cnn": zf_cnn,
    "resnet18": resnet18,
    "squeezenet": squeezenet,
    "vgg16": vgg16,
}
"""The networks by name."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw with a given seed inside the block and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode and restore the mode of every layer afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def parameter_count(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class Layer(NamedTuple):
    """One layer of a model: its name, its kind and its output's shape, (C, H, W) or (D,)."""

    name: str
    kind: str
    shape: tuple[int, ...]


def layer_table(model: nn.Module, image_shape: ImageShape) -> list[Layer]:
    """Every layer of a sequential model, in order."""
    parameter = next(model.parameters())
    x = torch.zeros(1, *image_shape, dtype=parameter.dtype, device=parameter.device)
    rows = []
    with torch.no_grad():
        for name, layer in model.named_children():
            x = layer(x)
            rows.append(Layer(name, type(layer).__name__, tuple(x.shape[1:])))
    return rows


def multiply_adds(model: nn.Module, image_shape: ImageShape) -> list[int]:
    """Multiplications with additions that each layer of a sequential model spends on an image.

    Convolutions and linear layers are counted; all else is taken to cost nothing.
    """
    costs = []
    for layer, row in zip(model.children(), layer_table(model, image_shape), strict=True):
        weight = getattr(layer, "weight", None)
        positions = prod(row.shape[1:])  # 1 for a linear layer
        costs.append(0 if weight is None else weight.numel() * positions)
    return costs
