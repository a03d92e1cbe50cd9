"""ResNets as encoders, with a stem for small images and a width that two CPU cores can train.

He, Zhang, Ren & Sun 2016 (arXiv 1512.03385). At width 1 and with the `imagenet` stem, the weights have the names,
shapes and seeded first values of torchvision's ResNets without the classifier. They are not torchvision's own modules
because importing those imports all of torchvision's models, which would double the start-up of a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, LibraryModel, View
from ssl_zoo.registry import register

Stem = Literal["imagenet", "small"]
Width = Annotated[float, Field(gt=0)]


IMAGENET = {"size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""What torchvision's weights and those of the papers are made for."""


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: `(B, inputs, H, W)` -> `(B, planes, H / stride, W / stride)`."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int = 1, downsample: nn.Module | None = None):
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, planes, 3, stride), nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = _conv(planes, planes, 3), nn.BatchNorm2d(planes)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm before the shortcut is added."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature maps."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: `(B, inputs, H, W)` -> `(B, 4 planes, H / stride, W / stride)`.

    The stride is that of the 3x3 convolution, as in torchvision (ResNet "v1.5"); the paper's is the first one's.
    """

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int = 1, downsample: nn.Module | None = None):
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _conv(planes, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = _conv(planes, 4 * planes, 1), nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm before the shortcut is added."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's feature maps."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    """A ResNet without its classifier.

    Args:
        spec: of the views, for their channels.
        stem: `imagenet` (7x7 stride 2, max-pool) or `small` (3x3 stride 1, no max-pool), for images of about 32 pixels.
        width: fraction of the usual 64, 128, 256, 512 channels.
        zero_init_residual: the last norm of each residual block starts at 0.

    Shapes: `(B, C, H, W)` -> the pooled features `(B, out_dim)`.

    Attributes:
        usual_input: options of views at which published weights of it were trained; with the small stem there are none.
    """

    usual_input: Mapping[str, Any] = IMAGENET
    model: ClassVar[str]
    block: ClassVar[type[BasicBlock] | type[Bottleneck]]
    depths: ClassVar[tuple[int, int, int, int]]

    def __init__(
        self,
        spec: InputSpec,
        *,
        stem: Stem = "imagenet",
        width: Width = 1.0,
        zero_init_residual: bool = False,
    ):
        super().__init__()
        if stem == "small":
            self.usual_input = {}
        self._channels, self._stem, self._width = spec.channels, stem, width
        planes = [max(1, round(width * channels)) for channels in (64, 128, 256, 512)]
        self.conv1 = _conv(spec.channels, planes[0], 7, 2) if stem == "imagenet" else _conv(spec.channels, planes[0], 3)
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else nn.Identity()
        self.out_dim = planes[0]
        self.layer1 = self._stage(planes[0], self.depths[0], stride=1)
        self.layer2 = self._stage(planes[1], self.depths[1], stride=2)
        self.layer3 = self._stage(planes[2], self.depths[2], stride=2)
        self.layer4 = self._stage(planes[3], self.depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self._initialise(zero_init_residual)

    def _stage(self, planes: int, depth: int, stride: int) -> nn.Sequential:
        """Return the blocks of one resolution, which follow on `out_dim` channels."""
        inputs, self.out_dim = self.out_dim, planes * self.block.expansion
        shortcut = None
        if stride != 1 or inputs != self.out_dim:
            shortcut = nn.Sequential(_conv(inputs, self.out_dim, 1, stride), nn.BatchNorm2d(self.out_dim))
        first = self.block(inputs, planes, stride, shortcut)
        return nn.Sequential(first, *(self.block(self.out_dim, planes) for _ in range(1, depth)))

    def _initialise(self, zero_init_residual: bool) -> None:
        """Initialise as torchvision does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                nn.init.zeros_(module.last_norm.weight)

    def library_models(self) -> dict[str, LibraryModel | str]:
        """Return the models of torchvision and timm that have these weights, or why there is none."""
        why = ""
        if self._stem != "imagenet":
            why = f"it has a 7x7 convolution of stride 2 and a max-pool where this encoder has the stem {self._stem}"
        elif self._width != 1:
            why = f"this encoder has {self._width:g} times its channels"
        if why:
            return {"torchvision": why, "timm": why}
        channels = f"it takes images of 3 channels, and this encoder those of {self._channels}"
        return {
            "torchvision": LibraryModel(self.model, "fc") if self._channels == 3 else channels,
            "timm": LibraryModel(self.model, "fc", {"in_chans": self._channels}),
        }

    def _maps(self, x: Tensor) -> Tensor:
        """Return the feature maps `(B, out_dim, H', W')`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        """Return the features of places `(B, N, out_dim)` and their grid (H', W'); their mean is the features."""
        maps = self._maps(view.tensor)
        return maps.flatten(2).transpose(1, 2), tuple(maps.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of images `(B, C, H, W)`."""
        return self.avgpool(self._maps(x)).flatten(1)


@register("encoder", "resnet18")
class ResNet18(ResNet):
    """ResNet-18, 512 features: see `ResNet` for the options."""

    model, block, depths = "resnet18", BasicBlock, (2, 2, 2, 2)


@register("encoder", "resnet34")
class ResNet34(ResNet):
    """ResNet-34, 512 features: see `ResNet` for the options."""

    model, block, depths = "resnet34", BasicBlock, (3, 4, 6, 3)


@register("encoder", "resnet50")
class ResNet50(ResNet):
    """ResNet-50, 2048 features: see `ResNet` for the options."""

    model, block, depths = "resnet50", Bottleneck, (3, 4, 6, 3)


@register("encoder", "resnet101")
class ResNet101(ResNet):
    """ResNet-101, 2048 features: see `ResNet` for the options."""

    model, block, depths = "resnet101", Bottleneck, (3, 4, 23, 3)
