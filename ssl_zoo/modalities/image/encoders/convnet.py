"""The encoder `convnet`: a few plain convolutions, for small images and for a CPU."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.registry import register

Channels = Annotated[int, Field(ge=1)]


@register("encoder", "convnet")
class ConvNet(nn.Module):
    """3x3 convolution, BatchNorm and ReLU per stage, each stage after the first at half the resolution; average pool.

    Args:
        widths: channels of each stage; the last is the width of the features.
        in_channels: of the images.

    Shapes: `(B, in_channels, H, W)` -> `(B, widths[-1])`.
    """

    def __init__(
        self,
        *,
        widths: Annotated[list[Channels], Field(min_length=1)] = [24, 48, 96, 192],  # noqa: B006 - never mutated
        in_channels: Channels = 1,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = in_channels
        for number, width in enumerate(widths):
            layers += [
                nn.Conv2d(inputs, width, 3, stride=1 if number == 0 else 2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            inputs = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.in_channels, self.out_dim = in_channels, inputs

    def maps(self, x: Tensor) -> Tensor:
        """Return the feature maps `(B, out_dim, H', W')` of images; their mean over the places is the features."""
        return self.body[:-2](x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of images `(B, C, H, W)`."""
        return self.body(x)
