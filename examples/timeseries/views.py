"""The view policy `series`: random crops in time, with noise, scaling and dropped channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data.source import Samples, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.registry import register

Strength = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


@register("views", "series")
class Series(ViewPolicy):
    """Crops of random length and place, resampled to one length; then scaling, noise and dropped channels.

    Each channel of a series is first brought to mean 0 and standard deviation 1, whatever its unit.

    Args:
        num_views: views per sample.
        channels: of the series.
        length: of a view, in time steps.
        scale: shortest and longest crop, as fractions of the series.
        jitter: standard deviation of the noise that is added to each value.
        scaling: standard deviation, around 1, of the factor that each channel is multiplied by.
        drop: probability that a channel is set to 0; one channel always stays.

    Raises:
        UserError: a scale that runs backwards.
    """

    modality = "timeseries"

    def __init__(
        self,
        *,
        num_views: Annotated[int, Field(ge=1)] = 2,
        channels: Annotated[int, Field(ge=1)] = 3,
        length: Annotated[int, Field(ge=2)] = 128,
        scale: tuple[Fraction, Fraction] = (0.5, 1.0),
        jitter: Strength = 0.1,
        scaling: Strength = 0.2,
        drop: Annotated[float, Field(ge=0, le=1)] = 0.1,
    ) -> None:
        super().__init__()
        if scale[0] > scale[1]:
            raise UserError(f"views.scale: {list(scale)} runs backwards; give the shortest crop first.")
        self.num_views, self.channels, self.length, self.scale = num_views, channels, length, scale
        self.jitter, self.scaling, self.drop = jitter, scaling, drop
        self.spec = InputSpec(self.modality, (ViewSpec("global", (channels, length)),) * num_views)

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw all that is random in the views of `num` samples; each entry is `(num, num_views, ...)`."""
        shape = (num, self.num_views)
        return {
            "crop": torch.rand(*shape, 2, generator=generator),
            "factor": torch.randn(*shape, self.channels, 1, generator=generator),
            "noise": torch.randn(*shape, self.channels, self.length, generator=generator),
            "drop": torch.rand(*shape, self.channels, 1, generator=generator),
        }

    def collate(self, samples: Samples, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Crop series `(C, L)`, of one length or of several.

        Returns:
            The payload for `forward`: `crops` `(B, V, C, length)`, their place `box` `(B, V, 3, 1)`, and the draws.

        Raises:
            UserError: series of other channels than this policy.
        """
        crops, boxes = zip(*map(self._crops, samples, params["crop"]), strict=True)
        rest = {name: value for name, value in params.items() if name != "crop"}
        return {"crops": torch.stack(crops), "box": torch.stack(boxes), **rest}

    def _crops(self, sample: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Return the crops `(V, C, length)` of a series `(C, L)`, and their boxes `(V, 3, 1)`."""
        series, total = self._standardised(sample), sample.shape[1]
        low, high = self.scale
        crops, boxes = [], []
        for extent, place in drawn.tolist():
            num = min(total, max(1, round((low + (high - low) * extent) * total)))
            start = min(int(place * (total - num + 1)), total - num)
            crops.append(resample(series[:, start : start + num], self.length))
            boxes.append([[start / total], [num / total], [0.0]])
        return torch.stack(crops), torch.tensor(boxes)

    def _standardised(self, sample: Tensor) -> Tensor:
        if sample.ndim != 2 or len(sample) != self.channels:
            raise UserError(
                f"views: made for series of {self.channels} channels, but got {tuple(sample.shape)}; "
                "set views.channels."
            )
        x = sample.float()
        return (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True, correction=0).clamp(min=1e-6)

    @torch.no_grad()
    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views, each `(B, C, length)` float32, on the payload's device."""
        x = payload["crops"] * (1 + self.scaling * payload["factor"]) + self.jitter * payload["noise"]
        chance = payload["drop"]
        kept = (chance >= self.drop) | (chance == chance.amax(dim=2, keepdim=True))
        boxes = payload["box"].unbind(dim=1)
        return [
            View(view, self.modality, aux={"box": box})
            for view, box in zip((x * kept).unbind(dim=1), boxes, strict=True)
        ]

    @torch.no_grad()
    def plain(self, samples: Samples) -> View:
        """Return whole series, each channel at mean 0 and standard deviation 1, resampled to `length`.

        Raises:
            UserError: as `collate`.
        """
        whole = [resample(self._standardised(sample), self.length) for sample in samples]
        return View(torch.stack(whole), self.modality)

    def picture(self, samples: Samples, views: Sequence[View]) -> Tensor:
        """Return line drawings `(3, H, W)`, uint8: a row per sample, first the plain one, then its views."""
        columns = [view.tensor.cpu() for view in (self.plain(samples), *views)]
        rows = [torch.cat([_drawing(x) for x in row], dim=2) for row in zip(*columns, strict=True)]
        return torch.cat(rows, dim=1)


def resample(x: Tensor, length: int) -> Tensor:
    """Return a series `(C, L)` at another length: means over areas where it gets shorter, else linear interpolation."""
    if x.shape[1] == length:
        return x
    mode = "area" if x.shape[1] > length else "linear"
    return F.interpolate(x[None], size=length, mode=mode)[0]


def _drawing(x: Tensor, height: int = 64, width: int = 160, limit: float = 3.0) -> Tensor:
    """Return a series `(C, L)` as lines in a frame, `(3, height, width)`, from -limit to limit."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width - 1, height - 1), outline="#bbbbbb")
    across = torch.linspace(2, width - 3, x.shape[1]).tolist()
    down = ((0.5 - x.clamp(-limit, limit) / (2 * limit)) * (height - 5) + 2).tolist()
    for number, channel in enumerate(down):
        draw.line(list(zip(across, channel, strict=True)), fill=COLOURS[number % len(COLOURS)])
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
