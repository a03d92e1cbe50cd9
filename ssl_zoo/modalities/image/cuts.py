"""What the views need of one image, so that the image itself need not be kept: its crops, resized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_zoo.modalities.image import geometry_large
from ssl_zoo.modalities.image.geometry import Interpolation


@dataclass(frozen=True)
class Cut:
    """The crops of one image.

    Attributes:
        crops: `(V, C, S, S)`, uint8.
        places: top, left, height and width of each crop as fractions of the image, `(V, 4)`.
    """

    crops: Tensor
    places: Tensor


def cut_image(image: Tensor, boxes: Tensor, size: int, interpolation: Interpolation) -> Cut:
    """Cut boxes `(V, 4)`, in pixels, out of an image, uint8 `(C, H, W)`."""
    crops = [geometry_large.cut(image, box, size, interpolation) for box in boxes.int().tolist()]
    height, width = image.shape[1:]
    return Cut(torch.stack(crops), boxes / torch.tensor([height, width, height, width]))


def join(cuts: Sequence[Cut]) -> dict[str, Tensor]:
    """Return the payload of several images: `cut` `(V, B, C, S, S)` and `geometry` `(V, B, 4)`."""
    return {
        "cut": torch.stack([cut.crops for cut in cuts], dim=1),
        "geometry": torch.stack([cut.places for cut in cuts], dim=1),
    }
