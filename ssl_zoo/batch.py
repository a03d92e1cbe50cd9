"""View and Batch: what travels from the view policies to a method.

They are not frozen: DistributedDataParallel rebuilds them around the tensors that it moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

Role = Literal["global", "local"]


@dataclass
class View:
    """One augmented copy of every sample of a batch. Only view policies and encoders look inside.

    Attributes:
        data: the samples, batch first; images are `(B, C, H, W)` floats, normalised.
        modality: the folder of `ssl_zoo.modalities` that it comes from.
        role: `global` views see most of the sample; `local` ones are small crops, which predict but are no target.
        geometry: where the view was cut from the sample, `(B, 5)` as top, left, height, width (fractions of the
            sample) and flipped (0 or 1); None where the modality has no such thing.
    """

    data: Tensor
    modality: str = "image"
    role: Role = "global"
    geometry: Tensor | None = None


@dataclass
class Batch:
    """The views of a batch of samples. Labels never get here.

    Attributes:
        views: the views, each of the same `B` samples in the same order.
        index: `(B,)` positions of the samples in the data set, for methods with a memory per sample.
    """

    views: Sequence[View]
    index: Tensor | None = None


@dataclass
class StepOutput:
    """What a step gives.

    Attributes:
        loss: the scalar to minimise, the sum of `terms`.
        terms: {name: weighted scalar}.
        embeddings: z of every view, `(B, D)`, detached: what the collapse guard looks at.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    embeddings: list[Tensor]


def encode(encoder: nn.Module, view: View) -> Tensor:
    """Return the embedding h `(B, D)` of a view.

    Any module that maps a tensor to `(B, D)` is an encoder. One that must see more than the tensor (an encoder for
    several modalities) defines `encode(view)`.
    """
    special: Callable[[View], Tensor] | None = getattr(encoder, "encode", None)
    return encoder(view.data) if special is None else special(view)
