"""How samples are compared in the space of the data, which confirms or refutes what an encoder takes for alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from ssl_zoo.batch import View
    from ssl_zoo.data.source import Modality


class Likeness:
    """Compares samples by their raw features (`Modality.raw`): the correlation of their numbers.

    A modality that knows what a slightly changed copy is has a subclass of its own, see `Modality.likeness`.

    Args:
        modality: of the samples.

    Attributes:
        least: the smallest likeness of near duplicates, where the data say nothing else.
        max_dim: numbers of an outline.
    """

    least = 0.99
    max_dim = 1024

    def __init__(self, modality: Modality) -> None:
        self.modality = modality

    def outline(self, sample: Any, view: View) -> Tensor:
        """Return the numbers `(D,)` by which a sample is compared, float32.

        Args:
            sample: decoded.
            view: the sample without augmentation, a batch of one.
        """
        return self.modality.raw(view, self.max_dim)[0].float().cpu()

    def coarse(self, outlines: Tensor) -> Tensor:
        """Return vectors of unit length `(B, d)` of outlines `(B, D)`; those of duplicates have a large cosine."""
        return F.normalize(outlines - outlines.mean(dim=1, keepdim=True), dim=1)

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """Return how alike samples are, pair by pair, from -1 to 1: `(B,)`, of outlines `(B, D)`."""
        return (self.coarse(one) * self.coarse(other)).sum(dim=1)

    def copies(self, sample: Any) -> list[Any]:
        """Return slightly changed copies of a sample, on which the thresholds are calibrated; none by default."""
        return []

    def picture(self, sample: Any) -> Tensor | None:
        """Return a sample as it is stored, as a picture `(3, H, W)`, uint8; None, by default, takes what is encoded."""
        return None
