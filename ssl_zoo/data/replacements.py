"""What is read in the place of a sample that cannot be read: a function of the seed, the step and the place alone.

A batch keeps its size, so that processes have equal parts of it; and which process meets a bad sample does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ssl_zoo import rng
from ssl_zoo.data.blocks import BlockOrder
from ssl_zoo.data.split import Split

NEAR = 8
"""Samples that are tried among those that are read together with the bad one, where some are."""

MOST = 100
"""Samples that are tried in one place."""


class Replacements:
    """Chooses samples to read in the places of bad ones.

    Args:
        split: the samples.
        seed: of the run.
        batch_size: samples of one optimizer step.
        steps_per_epoch: batches of an epoch.
    """

    def __init__(self, split: Split, seed: int, batch_size: int, steps_per_epoch: int) -> None:
        self._split, self._seed, self._batch_size, self._steps = split, seed, batch_size, steps_per_epoch
        self._order: tuple[int, BlockOrder] | None = None

    def candidates(self, step: int, place: int, bad: int) -> Iterator[int]:
        """Yield the positions of samples, to be tried one after the other.

        Args:
            step: of the batch.
            place: of the sample in the whole batch.
            bad: the position of the sample that cannot be read.
        """
        generator = rng.generator(self._seed, "replacement", step, place)
        near = self._near(step, place)
        if near is not None:
            for _ in range(NEAR):
                yield int(near[_below(len(near), generator)])
        alike = self._alike(bad)
        for _ in range(MOST - (NEAR if near is not None else 0)):
            yield _below(len(self._split), generator) if alike is None else int(alike[_below(len(alike), generator)])

    def _near(self, step: int, place: int) -> Tensor | None:
        """Return the samples of the blocks that are held for a place of a batch: no other block is read for them."""
        if self._split.blocks is None:
            return None
        epoch, batch = divmod(step, self._steps)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._split.blocks.order(self._seed, epoch, self._batch_size)
        return self._order[1].near(batch, place)

    def _alike(self, bad: int) -> Tensor | None:
        """Return the samples of the source of a sample, where each source has a share of the epoch."""
        draws = self._split.draws
        return None if draws is None else (draws.group == draws.group[bad]).nonzero()[:, 0]


def _below(num: int, generator: torch.Generator) -> int:
    return int(torch.randint(num, (), generator=generator))
