"""The encoder `convnet`: a few plain convolutions, for small images and for a CPU."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.registry import register

Channels = Annotated[int, Field(ge=1)]


@register("encoder", "convnet")
class ConvNet(nn.Module):
    """3x3 convolution, BatchNorm and ReLU per stage, each stage after the first at half the resolution; average pool.

    Args:
        spec: of the views, for their channels.
        widths: channels of each stage; the last is the width of the features.

    Shapes: `(B, C, H, W)` -> `(B, widths[-1])`.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        widths: Annotated[list[Channels], Field(min_length=1)] = [24, 48, 96, 192],  # noqa: B006 - never mutated
    ):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = spec.channels
        for number, width in enumerate(widths):
            layers += [
                nn.Conv2d(inputs, width, 3, stride=1 if number == 0 else 2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            inputs = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out_dim = inputs

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        """Return the features of places `(B, N, out_dim)` and their grid (H', W'); their mean is the features."""
        maps = self.body[:-2](view.tensor)
        return maps.flatten(2).transpose(1, 2), tuple(maps.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of images `(B, C, H, W)`."""
        return self.body(x)
