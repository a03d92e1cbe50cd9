"""The encoder `conv1d`: a few convolutions in time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.registry import register

Width = Annotated[int, Field(ge=1)]


@register("encoder", "conv1d")
class Conv1d(nn.Module):
    """Convolution, BatchNorm and ReLU per stage, each stage after the first at half the resolution; average pool.

    Args:
        spec: of the views, for their channels.
        widths: channels of each stage; the last is the width of the features.
        kernel: time steps that a convolution sees, an odd number.

    Shapes: `(B, C, L)` -> `(B, widths[-1])`.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        widths: Annotated[list[Width], Field(min_length=1)] = [32, 64, 128],  # noqa: B006 - never mutated
        kernel: Annotated[int, Field(ge=1)] = 7,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = spec.channels
        for number, width in enumerate(widths):
            layers += [
                nn.Conv1d(inputs, width, kernel, stride=1 if number == 0 else 2, padding=kernel // 2, bias=False),
                nn.BatchNorm1d(width),
                nn.ReLU(),
            ]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.out_dim = inputs

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        """Return the features of places in time `(B, N, out_dim)` and their grid `(N,)`; their mean is the features."""
        maps = self.body(view.tensor)
        return maps.transpose(1, 2), (maps.shape[2],)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of series `(B, C, L)`."""
        return self.body(x).mean(dim=2)
