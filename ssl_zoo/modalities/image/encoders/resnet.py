"""torchvision's residual blocks as encoders, with a stem for small images and a width that two CPU cores can train.

He, Zhang, Ren & Sun 2016 (arXiv 1512.03385). At width 1 and the `imagenet` stem, the weights have the names and shapes
of torchvision's ResNets, without the classifier.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.registry import register

Block = type[BasicBlock] | type[Bottleneck]
Stem = Literal["imagenet", "small"]
Width = Annotated[float, Field(gt=0)]


class ResNet(nn.Module):
    """A ResNet without its classifier: `(B, C, H, W)` -> the pooled features `(B, out_dim)`.

    Args:
        block: torchvision's residual block.
        depths: blocks of each of the four stages.
        stem: `imagenet` (7x7 stride 2, max-pool) or `small` (3x3 stride 1, no max-pool), for images of about 32 pixels.
        width: fraction of the usual 64, 128, 256, 512 channels.
        in_channels: of the images.
        zero_init_residual: the last norm of each residual block starts at 0.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        block: Block,
        depths: tuple[int, int, int, int],
        *,
        stem: Stem = "imagenet",
        width: float = 1.0,
        in_channels: int = 3,
        zero_init_residual: bool = False,
    ):
        super().__init__()
        planes = [max(1, round(width * channels)) for channels in (64, 128, 256, 512)]
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = nn.Conv2d(in_channels, planes[0], kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else nn.Identity()
        inputs = planes[0]
        for number, (channels, depth) in enumerate(zip(planes, depths, strict=True)):
            stage = _stage(block, inputs, channels, depth, stride=1 if number == 0 else 2)
            self.add_module(f"layer{number + 1}", stage)
            inputs = channels * block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.out_dim = inputs
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        """Initialise as torchvision does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                nn.init.zeros_((module.bn3 if isinstance(module, Bottleneck) else module.bn2).weight)

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


def _stage(block: Block, inputs: int, planes: int, depth: int, stride: int) -> nn.Sequential:
    outputs = planes * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    first = block(inputs, planes, stride, shortcut)
    return nn.Sequential(first, *(block(outputs, planes) for _ in range(1, depth)))


@register("encoder", "resnet18")
def resnet18(
    spec: InputSpec, *, stem: Stem = "imagenet", width: Width = 1.0, zero_init_residual: bool = False
) -> ResNet:
    """ResNet-18, 512 features: see `ResNet` for the options."""
    return ResNet(
        BasicBlock,
        (2, 2, 2, 2),
        stem=stem,
        width=width,
        in_channels=spec.channels,
        zero_init_residual=zero_init_residual,
    )


@register("encoder", "resnet34")
def resnet34(
    spec: InputSpec, *, stem: Stem = "imagenet", width: Width = 1.0, zero_init_residual: bool = False
) -> ResNet:
    """ResNet-34, 512 features: see `ResNet` for the options."""
    return ResNet(
        BasicBlock,
        (3, 4, 6, 3),
        stem=stem,
        width=width,
        in_channels=spec.channels,
        zero_init_residual=zero_init_residual,
    )


@register("encoder", "resnet50")
def resnet50(
    spec: InputSpec, *, stem: Stem = "imagenet", width: Width = 1.0, zero_init_residual: bool = False
) -> ResNet:
    """ResNet-50, 2048 features: see `ResNet` for the options."""
    return ResNet(
        Bottleneck,
        (3, 4, 6, 3),
        stem=stem,
        width=width,
        in_channels=spec.channels,
        zero_init_residual=zero_init_residual,
    )


@register("encoder", "resnet101")
def resnet101(
    spec: InputSpec, *, stem: Stem = "imagenet", width: Width = 1.0, zero_init_residual: bool = False
) -> ResNet:
    """ResNet-101, 2048 features: see `ResNet` for the options."""
    return ResNet(
        Bottleneck,
        (3, 4, 23, 3),
        stem=stem,
        width=width,
        in_channels=spec.channels,
        zero_init_residual=zero_init_residual,
    )
