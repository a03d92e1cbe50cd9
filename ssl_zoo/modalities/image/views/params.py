"""Augmentation parameters: per sample (`SampleParams`), and shared by all samples (`RenderSettings`)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from torch import Tensor

from ssl_zoo.modalities.image.views.geometry import Interpolation
from ssl_zoo.modalities.image.views.geometry_large import LARGE


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


@dataclass(frozen=True)
class SampleParams:
    """Parameters of each sample in each view: tensors `(V, B, ...)`. None: applied to no sample.

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
    """

    boxes: Tensor | None
    flip: Tensor | None
    jitter: Tensor | None
    grey: Tensor | None
    blur: Tensor | None
    solarise: Tensor | None
    factors: Tensor
    order: Tensor
    sigma: Tensor

    def known(self) -> dict[str, Tensor]:
        """Return the parameters that are not None, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
