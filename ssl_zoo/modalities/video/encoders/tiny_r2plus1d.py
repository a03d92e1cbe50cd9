"""The encoder `tiny_r2plus1d`: convolutions in space and in time by turns, small enough for two CPU cores."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.registry import register

Width = Annotated[int, Field(ge=1)]


@register("encoder", "tiny_r2plus1d")
class TinyR2Plus1D(nn.Module):
    """Per stage a 3x3 convolution in space and one of 3 frames in time, each with BatchNorm and ReLU; average pool.

    The factorisation is that of R(2+1)D (Tran et al. 2018, arXiv 1711.11248, section 3.5), without residuals. Each
    stage halves height and width; each after the second halves the number of frames.

    Args:
        spec: of the views, for their channels.
        widths: channels of each stage; the last is the width of the features.

    Shapes: `(B, C, T, H, W)` -> `(B, widths[-1])`.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        widths: Annotated[list[Width], Field(min_length=1)] = [16, 32, 64, 128],  # noqa: B006 - never mutated
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = spec.channels
        for number, width in enumerate(widths):
            layers += [
                nn.Conv3d(inputs, width, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False),
                nn.BatchNorm3d(width),
                nn.ReLU(inplace=True),
                nn.Conv3d(
                    width, width, (3, 1, 1), stride=(1 if number < 2 else 2, 1, 1), padding=(1, 0, 0), bias=False
                ),
                nn.BatchNorm3d(width),
                nn.ReLU(inplace=True),
            ]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.out_dim = inputs

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        """Return the features of places `(B, N, out_dim)` and their grid (T', H', W'); their mean is the features."""
        maps = self.body(view.tensor)
        return maps.flatten(2).transpose(1, 2), tuple(maps.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of clips `(B, C, T, H, W)`."""
        return self.body(x).mean(dim=(2, 3, 4))
