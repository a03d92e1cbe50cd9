"""The order of an epoch where samples that lie together are read together: row groups of a shard, runs of an archive.

A full shuffle reads one sample here and one there, and with it each time all that has to be read for it. Instead, the
blocks are shuffled, a few are held at a time, and their samples are shuffled. The order is a function of (seed, epoch,
batch size, `streams`, `held`), computed for any step at once, so that nothing is saved to resume it.

The epoch is cut into streams that run side by side, each of which fills its own part of every batch. Of k processes
that each take a part of every batch, each then reads the blocks of its own streams, and no block is read k times,
while the samples of a batch are the same for every k (MosaicML Streaming has canonical nodes for the same reason).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssl_zoo import rng

STREAMS = 16
"""Parts of a batch that are filled from blocks of their own."""

HELD = 2
"""Blocks of a stream that are held at a time, by default."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Samples of a split that are read together.

    Attributes:
        sizes: `(G,)` int64, the samples of each block, at least 1; together they are all samples, in their order.
        streams: parts of an epoch that are read side by side; each fills its part of every batch.
        held: blocks of a stream over which samples are mixed.
    """

    sizes: np.ndarray
    streams: int = STREAMS
    held: int = HELD

    def order(self, seed: int, epoch: int, batch_size: int) -> BlockOrder:
        """Return the order of an epoch."""
        return BlockOrder(self, seed, epoch, batch_size)

    def most_held(self, num_processes: int = 1) -> int:
        """Return how many blocks one of so many processes reads from at a time, at most.

        A stream goes from one window of `held` blocks to the next within a batch, and begins and ends in one that it
        shares with its neighbour. A number of processes that does not divide that of the streams cuts some of them.
        """
        own = self.streams // num_processes + (2 if self.streams % num_processes else 0)
        return own * (self.held + 1) + 1

    def of(self, kept: Sequence[int]) -> Blocks | None:
        """Return the same for a split of which only some samples are left, given their positions in order."""
        inside = np.searchsorted(np.cumsum(self.sizes), np.asarray(kept, np.int64), side="right")
        sizes = np.bincount(inside, minlength=len(self.sizes))
        return Blocks(sizes[sizes > 0], self.streams, self.held) if len(kept) else None

    def first_of(self, block: int) -> int:
        """Return the position of the first sample of a block."""
        return int(self.sizes[:block].sum())


class BlockOrder:
    """The batches of an epoch.

    Each sample comes once, but for those of the last, incomplete batch, which are others in each epoch.

    Args:
        blocks: of the split.
        seed: of the run.
        epoch: from 0.
        batch_size: samples of a batch.
    """

    def __init__(self, blocks: Blocks, seed: int, epoch: int, batch_size: int) -> None:
        self._seed, self._epoch, self._held = seed, epoch, blocks.held
        generator = rng.generator(seed, "order", epoch)
        order = torch.randperm(len(blocks.sizes), generator=generator).numpy()
        starts, sizes = (np.cumsum(blocks.sizes) - blocks.sizes)[order], blocks.sizes[order]
        # A part of the first block comes last, so that what is left out at the end is not always the end of a block.
        cut = int(torch.randint(int(sizes[0]), (1,), generator=generator))
        self._starts = np.concatenate([[starts[0] + cut], starts[1:], [starts[0]]])  # where each begins in the split
        sizes = np.concatenate([[sizes[0] - cut], sizes[1:], [cut]])
        self._ends = np.cumsum(sizes)  # where it ends in this epoch's sequence of blocks
        self._begins = self._ends - sizes
        streams = max(1, min(blocks.streams, batch_size))
        steps = int(self._ends[-1]) // batch_size
        parts = np.arange(streams + 1, dtype=np.int64) * batch_size // streams  # of a batch
        self._widths = np.diff(parts)
        self._edges = [self._windows(stream, *(steps * parts[stream : stream + 2])) for stream in range(streams)]
        self._shuffled: list[dict[int, np.ndarray]] = [{} for _ in range(streams)]

    def batch(self, place: int) -> Tensor:
        """Return the positions `(B,)`, int64, of the samples of a batch; `place` counts from 0 in the epoch."""
        parts = []
        for stream, width in enumerate(self._widths.tolist()):
            first, stop = place * width + self._edges[stream][0], (place + 1) * width + self._edges[stream][0]
            parts.append(self._samples(stream, first, stop))
        return torch.from_numpy(np.concatenate(parts))

    def near(self, place: int, position: int) -> Tensor:
        """Return the positions `(n,)` of the samples that are mixed with one of a batch: those of the same few blocks.

        Args:
            place: of the batch, from 0 in the epoch.
            position: of the sample in the batch.
        """
        ends = np.cumsum(self._widths)
        stream = int(np.searchsorted(ends, position, side="right"))
        inside = position - int(ends[stream] - self._widths[stream])
        at = place * int(self._widths[stream]) + int(self._edges[stream][0]) + inside
        return torch.from_numpy(self._window(stream, int(np.searchsorted(self._edges[stream], at, side="right")) - 1))

    def _windows(self, stream: int, first: int, stop: int) -> np.ndarray:
        """Return the bounds of the windows of a stream, which holds the places `first` to `stop` of the sequence.

        The first window is shorter in some streams, so that they do not all go on to new blocks at once.
        """
        inner = self._ends[(self._ends > first) & (self._ends < stop)][stream % self._held :: self._held]
        return np.concatenate([[first], inner, [stop]])

    def _samples(self, stream: int, first: int, stop: int) -> np.ndarray:
        """Return the samples of a stream at the places `first` to `stop`."""
        edges, found = self._edges[stream], []
        window = int(np.searchsorted(edges, first, side="right")) - 1
        while first < stop:
            begin, end = int(edges[window]), int(edges[window + 1])
            found.append(self._window(stream, window)[first - begin : min(stop, end) - begin])
            first, window = end, window + 1
        return np.concatenate(found)

    def _window(self, stream: int, window: int) -> np.ndarray:
        """Return the samples of a window, shuffled; the last two of a stream are kept."""
        known = self._shuffled[stream]
        if window not in known:
            while len(known) > 1:
                del known[min(known)]
            begin, end = (int(self._edges[stream][window + i]) for i in (0, 1))
            generator = rng.generator(self._seed, "order", self._epoch, stream, window)
            places = begin + torch.randperm(end - begin, generator=generator).numpy()
            block = np.searchsorted(self._ends, places, side="right")
            known[window] = places - self._begins[block] + self._starts[block]
        return known[window]
