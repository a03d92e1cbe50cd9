"""What makes a micro-batch of samples of a split; with several workers, one lives in each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssl_zoo import rng
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.cutter import Cutter
from ssl_zoo.data.raw_batch import RawBatch
from ssl_zoo.data.replacements import Replacements
from ssl_zoo.data.source import Samples, Split, ViewPolicy
from ssl_zoo.errors import UserError

Bad = list[tuple[str, str]]
"""(name, reason) of samples that could not be read."""

Draws = Callable[[int, Tensor], dict[str, Tensor]]
"""(optimizer step, positions of samples in the split `(B,)`) -> what a method draws for them; see `Method.draws`."""


@dataclass(frozen=True)
class Request:
    """A micro-batch that a worker is to make: its optimizer step, and the samples in it."""

    step: int
    first: int  # position of the micro-batch's first sample in the batch
    indices: list[int]


@dataclass(frozen=True)
class Reader(Dataset[RawBatch]):
    """Answers requests; this is what lives in a worker process."""

    split: Split
    policy: ViewPolicy
    seed: int
    batch_size: int
    draws: Draws | None
    replacements: Replacements | None  # None: the first bad sample is an error

    def __getitem__(self, request: Request) -> RawBatch:
        # Drawn for the whole batch and then chosen from, so that the number of micro-batches changes nothing.
        drawn = self.policy.draw(rng.generator(self.seed, "views", request.step), self.batch_size)
        nothing = torch.empty(0, dtype=torch.int64)
        bad: Bad = []
        try:
            index, samples = self._read(request, drawn, bad)
            if len(index) < len(request.indices):
                return RawBatch({}, nothing, bad)
            rows = torch.arange(request.first, request.first + len(index))
            payload = self.policy.collate(samples, {key: value[rows] for key, value in drawn.items()})
        except UserError as error:
            return RawBatch({}, nothing, bad, str(error))
        positions = torch.tensor(index)
        return RawBatch(payload, positions, bad, drawn=self.draws(request.step, positions) if self.draws else {})

    def _read(self, request: Request, drawn: dict[str, Tensor], bad: Bad) -> tuple[list[int], Samples]:
        """Return the positions of the samples that were read, fewer than asked for where one is missing; and these."""
        if self.split.stacked:
            return request.indices, self.split.read_batch(torch.tensor(request.indices))
        cutter, index = Cutter(self.policy, drawn), list[int]()
        for row, i in enumerate(request.indices, start=request.first):
            others = () if self.replacements is None else self.replacements.candidates(request.step, row, i)
            for each in chain([i], others):
                try:
                    cutter.add(self.split.read(each), row)
                except BadSample as error:
                    bad.append((error.name, error.reason))
                    continue
                index.append(each)
                break
            else:
                return index, []
        return index, cutter.finish()
