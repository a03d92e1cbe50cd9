"""The encoder `audio_convnet`: a small convolutional network of BYOL-A's kind, which keeps the bands apart."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec
from ssl_zoo.errors import UserError
from ssl_zoo.registry import register

Width = Annotated[int, Field(ge=1)]


@register("encoder", "audio_convnet")
class AudioConvNet(nn.Module):
    """3x3 convolution, BatchNorm, ReLU and max-pool per stage; an MLP for each moment; their mean plus their maximum.

    The MLP sees all bands of a moment, so that a sound is not the same one octave higher. The architecture is that of
    BYOL-A (Niizumi et al. 2021, arXiv 2103.06695), whose widths are 64, 64, 64 and 2048, without its
    dropout.

    Args:
        spec: of the views, `(channels, bands, frames)`.
        widths: channels of each stage, each of which halves bands and frames.
        out_dim: width of the MLP and of the features.

    Shapes: `(B, C, F, T)` -> `(B, out_dim)`.

    Raises:
        UserError: views that are no spectrograms, or too small for so many stages.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        widths: Annotated[list[Width], Field(min_length=1)] = [32, 64, 64],  # noqa: B006 - never mutated
        out_dim: Width = 256,
    ) -> None:
        super().__init__()
        if len(spec.sides) != 2:
            raise UserError(
                "encoder audio_convnet: takes views (channels, bands, frames), but the views have the shape "
                f"{spec.views[0].shape}; use views log_mel, or another encoder."
            )
        bands = spec.sides[0] >> len(widths)
        if not bands or not spec.sides[1] >> len(widths):
            raise UserError(
                f"encoder.widths: {len(widths)} stages halve views of {spec.sides[0]} bands and {spec.sides[1]} frames "
                "to nothing; give fewer, or raise views.num_mels or views.seconds."
            )
        layers: list[nn.Module] = []
        inputs = spec.channels
        for width in widths:
            layers += [
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.mlp = nn.Sequential(
            nn.Linear(inputs * bands, out_dim), nn.ReLU(inplace=True), nn.Linear(out_dim, out_dim), nn.ReLU()
        )
        self.out_dim = out_dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of spectrograms `(B, C, F, T)`."""
        moments = self.mlp(self.body(x).flatten(1, 2).transpose(1, 2))
        return moments.mean(dim=1) + moments.amax(dim=1)
