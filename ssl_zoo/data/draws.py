"""Samples of an epoch where each source has a share of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Draws:
    """How many samples of each group an epoch has.

    Attributes:
        group: `(N,)` int64, the group of each sample of a split.
        counts: the samples of each group in an epoch.
    """

    group: Tensor
    counts: tuple[int, ...]

    @property
    def num(self) -> int:
        """The samples of an epoch."""
        return sum(self.counts)

    def order(self, generator: torch.Generator) -> Tensor:
        """Return the positions of the samples of an epoch, in the order in which they are seen.

        Of a group with more samples than its count, others are drawn in each epoch; of one with fewer, each comes as
        often as the others, or once more.

        Args:
            generator: of the epoch.
        """
        chosen = []
        for number, count in enumerate(self.counts):
            members = (self.group == number).nonzero()[:, 0]
            rounds = -(-count // len(members))
            drawn = torch.cat([torch.randperm(len(members), generator=generator) for _ in range(rounds)])
            chosen.append(members[drawn[:count]])
        together = torch.cat(chosen)
        return together[torch.randperm(len(together), generator=generator)]

    def of(self, kept: Sequence[int]) -> Draws | None:
        """Return the same for a split of which only some samples are left; None where a group has lost all."""
        group = self.group[torch.tensor(kept, dtype=torch.int64)]
        left = all(bool((group == number).any()) for number in range(len(self.counts)))
        return Draws(group, self.counts) if left else None


def counts_of(weights: Sequence[float], total: int) -> list[int]:
    """Return whole numbers in proportion to weights that sum to `total`, by the largest remainders.

    Args:
        weights: above 0.
        total: at least 1.
    """
    whole = sum(weights)
    exact = [total * weight / whole for weight in weights]
    counts = [int(each) for each in exact]
    rest = sorted(range(len(weights)), key=lambda i: (counts[i] - exact[i], i))
    for i in rest[: total - sum(counts)]:
        counts[i] += 1
    return counts
