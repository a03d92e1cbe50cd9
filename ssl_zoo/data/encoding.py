"""How plain samples are encoded: in which batches, by modules in which mode, and how several looks become one vector.

An evaluation and a loaded encoder share it, so that their features are the same, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View

BATCH = 512
"""Samples that are encoded at a time, at most."""

BATCH_BYTES = 512 * 3 * 224 * 224 * 4
"""The most that the plain views of a batch take: clips are encoded in smaller batches than pictures."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode, and restore the mode of every submodule afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def mean_over(views: Sequence[View], embed: Callable[[View], Tensor]) -> Tensor:
    """Return the mean of the embeddings `(B, D)` of several views of the same samples, float32."""
    each = [embed(view).float() for view in views]
    return each[0] if len(each) == 1 else torch.stack(each).mean(dim=0)


def at_a_time(spec: InputSpec, most: int) -> int:
    """Return how many samples are looked at together: `most`, or as many as `BATCH_BYTES` allow."""
    plain = [each.views[0] for each in spec.each.values() if each.views]
    size = sum(math.prod(view.shape) * view.dtype.itemsize for view in plain)
    return min(most, max(1, BATCH_BYTES // max(size, 1)))
