"""Augmentation parameters: per sample (`SampleParams`), and shared by all samples (`RenderSettings`)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Literal

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views.constants import constant
from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.geometry_large import LARGE

_NEARLY = 1e-4
"""A pixel so little below the threshold of solarisation is at it: levels are 1/255 apart, the rest is rounding."""


@dataclass(frozen=True)
class RenderSettings:
    """Settings that all samples share; see the options of `augment`.

    Attributes:
        size: height and width of a view in pixels.
        interpolation: of the crop's resize.
        colour: how colours are changed.
        used: whether brightness, contrast, saturation and hue are changed at all.
        radius: of the blur's kernel in pixels.
        threshold: of solarisation, in [0, 1].
        mean: subtracted from each channel, `(1, C, 1, 1)`, on the device.
        std: divided by, `(1, C, 1, 1)`, on the device.
        large: views of more pixels a side are made one at a time on a CPU.
    """

    size: int
    interpolation: Interpolation
    colour: Literal["matrix", "exact"]
    used: tuple[bool, ...]
    radius: int
    threshold: float
    mean: Tensor
    std: Tensor
    large: int = LARGE

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Normalised values of black and of white, each `(C, 1)`."""
        with torch.inference_mode(False):
            mean, std = self.mean.view(-1, 1), self.std.view(-1, 1)
            return -mean / std, (1 - mean) / std

    @cached_property
    def solarisation(self) -> tuple[Tensor, Tensor]:
        """The normalised value from which pixels are inverted, and what they are subtracted from, `(1, C, 1, 1)`."""
        with torch.inference_mode(False):
            return (self.threshold - _NEARLY - self.mean) / self.std, (1 - 2 * self.mean) / self.std


@lru_cache(maxsize=64)
def render_settings(
    size: int,
    interpolation: Interpolation,
    colour: Literal["matrix", "exact"],
    used: tuple[bool, ...],
    radius: int,
    threshold: float,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
) -> RenderSettings:
    """Return settings with `mean` and `std` on a device, made once: what follows from them is kept, too."""
    shift, scale = (constant(values, device).view(1, -1, 1, 1) for values in (mean, std))
    return RenderSettings(size, interpolation, colour, used, radius, threshold, shift, scale)


@dataclass(frozen=True)
class SampleParams:
    """Parameters of each sample in each view: tensors `(V, B, ...)`. None: applied to no sample.

    Where `RenderSettings.colour` is `matrix`, `affine` and `of_mean` change the colours, `kernels` make the blurs,
    and there are no `jitter`, `grey`, `factors`, `order` and `sigma`; where it is `exact`, it is the other way round.

    Attributes:
        boxes: top, left, height, width of the crop in pixels, `(V, B, 4)`; None where the crops are cut already.
        flip: which samples are mirrored, bool `(V, B)`.
        jitter: whose colours are jittered, bool `(V, B)`.
        grey: which lose their colour, bool `(V, B)`.
        blur: which are blurred, bool `(V, B)`.
        solarise: which are solarised, bool `(V, B)`.
        factors: of brightness, contrast and saturation, and the turn of the hue, `(V, B, 4)`.
        order: when each of the four comes, a permutation of 0..3 `(V, B, 4)`; see `colour_matrix.colour_maps`.
        sigma: of the blur in pixels, `(V, B)`.
        kernels: of the blur, `(V, B, radius + 1)`; see `geometry.half_kernels`.
        affine: from levels to normalised values, `(V, B, C, C + 1)`; see `colour_matrix.affine_maps`.
        of_mean: of the mean of the image, `(V, B, C, C)`.
    """

    boxes: Tensor | None = None
    flip: Tensor | None = None
    jitter: Tensor | None = None
    grey: Tensor | None = None
    blur: Tensor | None = None
    solarise: Tensor | None = None
    factors: Tensor | None = None
    order: Tensor | None = None
    sigma: Tensor | None = None
    kernels: Tensor | None = None
    affine: Tensor | None = None
    of_mean: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of views and of samples."""
        views, num = next(iter(self.known().values())).shape[:2]
        return views, num

    def known(self) -> dict[str, Tensor]:
        """Return the parameters that are not None, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
