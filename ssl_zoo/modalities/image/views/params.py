"""What is to be done to each sample, and what all of them share: what a view policy says to the code that does it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from torch import Tensor

from ssl_zoo.modalities.image.views.geometry import Interpolation


@dataclass(frozen=True)
class Look:
    """What all samples share; see the options of `augment`. `mean` and `std` are `(1, C, 1, 1)`, on the device."""

    size: int
    interpolation: Interpolation
    colour: Literal["matrix", "exact"]
    used: tuple[bool, ...]
    radius: int
    threshold: float
    mean: Tensor
    std: Tensor

    @property
    def early_blur(self) -> bool:
        """Whether the blur comes before the colours, with which it commutes except where values leave the range."""
        return self.colour == "matrix"


@dataclass(frozen=True)
class Plan:
    """What is done to each sample in each view; every entry is `(V, B, ...)`, and None is done to no sample.

    Attributes:
        boxes: top, left, height, width in pixels of the crop.
        flip: which are mirrored; and so `jitter`, `grey`, `blur` and `solarise`: bool `(V, B)`.
        factors: of the jitter, see `colour_matrix`; `order` too.
        sigma: of the blur, in pixels.
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

    def part(self, start: int, stop: int) -> Plan:
        """Return the plan for some of the samples."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        some: dict[str, Any] = {name: None if x is None else x[:, start:stop] for name, x in values.items()}
        return Plan(**some)
