"""A picture of samples and their views: for the board, the report and `ssl-zoo views`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Sample, Samples, Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.rng import generator


def picture_of_views(split: Split, policy: ViewPolicy, seed: int, samples: int = 8) -> Tensor:
    """Return a grid of samples and their views as a picture `(3, H, W)`, uint8.

    Args:
        split: where the samples come from; the first of a seeded shuffle that can be read are shown.
        policy: the view policy; its `picture` makes each row.
        seed: of the shuffle and of the views.
        samples: how many rows.
    """
    drawn = policy.draw(generator(seed, "picture", 1), min(samples, len(split)))
    rows: list[Tensor] = []
    for sample in itertools.islice(_readable(split, seed), samples):
        row = len(rows)
        params = {name: value[row : row + 1] for name, value in drawn.items()}
        as_read = _batch([sample], split)
        rows.append(policy.picture(as_read, policy(policy.collate(as_read, params))))
        del sample, as_read  # before another is read: they may be large
    return torch.cat(rows, dim=1)


def some_views(split: Split, policy: ViewPolicy, seed: int, samples: int) -> tuple[Samples, list[View]]:
    """Return some samples, stacked where the split is, and their views."""
    read = list(itertools.islice(_readable(split, seed), samples))
    params = policy.draw(generator(seed, "picture", 1), len(read))
    batch = _batch(read, split)
    return batch, policy(policy.collate(batch, params))


def _batch(samples: list[Sample], split: Split) -> Samples:
    """Return samples as the loader would hand them to the policy."""
    return torch.stack(samples) if split.stacked else samples


def _readable(split: Split, seed: int) -> Iterator[Sample]:
    found = False
    for i in torch.randperm(len(split), generator=generator(seed, "picture")):
        try:
            sample = split.read(int(i))
        except BadSample:  # the loader names it, and applies the recipe's policy
            continue
        found = True
        yield sample
        del sample
    if not found:
        raise UserError(f"none of the {len(split)} samples can be read.")
