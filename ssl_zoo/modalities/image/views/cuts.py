"""What the views need of one image, so that the image itself need not be kept: its crops, resized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_zoo.modalities.image.views import geometry_large
from ssl_zoo.modalities.image.views.geometry import Interpolation


@dataclass(frozen=True)
class Cut:
    """The crops of one image.

    Attributes:
        crops: `(V, C, S, S)`, of the type of the image.
        places: top, left, height and width of each crop as fractions of the image, `(V, 4)`.
    """

    crops: Tensor
    places: Tensor


def cut_images(images: Sequence[Tensor], boxes: Tensor, size: int, interpolation: Interpolation) -> list[Cut]:
    """Cut boxes `(V, N, 4)`, in pixels, out of N images `(C, H_i, W_i)`."""
    sides = torch.tensor([[*image.shape[1:], *image.shape[1:]] for image in images])
    places, cuts = boxes / sides, []
    for i, (image, each) in enumerate(zip(images, boxes.int().transpose(0, 1).tolist(), strict=True)):
        crops = torch.stack([geometry_large.cut(image, box, size, interpolation) for box in each])
        cuts.append(Cut(crops, places[:, i]))
    return cuts


def join(cuts: Sequence[Cut]) -> dict[str, Tensor]:
    """Return the payload of several images: `cut` `(V, B, C, S, S)` and `geometry` `(V, B, 4)`."""
    return {
        "cut": torch.stack([cut.crops for cut in cuts], dim=1),
        "geometry": torch.stack([cut.places for cut in cuts], dim=1),
    }
