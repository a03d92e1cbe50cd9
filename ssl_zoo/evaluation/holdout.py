"""A held-out part of labelled samples, stratified by class and a function of the seed alone."""

import torch
from torch import Tensor

from ssl_zoo.rng import generator


def holdout(y: Tensor, fraction: float, seed: int, stream: str = "holdout") -> tuple[Tensor, Tensor]:
    """Split sample indices into a kept and a held-out part.

    Every class gives the rounded fraction of its samples, at least one and never its last: a class of one sample is
    kept.

    Args:
        y: labels `(N,)`.
        fraction: how much is held out, in (0, 1).
        seed: with the same seed and labels the split is the same.
        stream: the name of the random stream, see `ssl_zoo.rng`.

    Returns:
        The indices kept and those held out, both sorted; the second is empty if every class has one sample only.
    """
    y = y.cpu()
    held = torch.zeros(len(y), dtype=torch.bool)
    source = generator(seed, stream)
    for label in y.unique():
        members = (y == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=source)]
        num = min(max(1, round(len(members) * fraction)), len(members) - 1)
        held[members[:num]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()
