"""A picture of samples and their views: for the board, the report and `ssl-zoo views`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssl_zoo.batch import View
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Media, Modality, Sample, Samples, Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.rng import generator

WHITE = 255


@dataclass(frozen=True)
class Preview:
    """Some samples and their views.

    Attributes:
        picture: `(3, H, W)`, uint8: a row per sample, first the plain one, then its views.
        rows: of each sample, where its row of the picture begins and ends.
        media: of each sample, what a page shows beside the picture.
    """

    picture: Tensor
    rows: list[tuple[int, int]]
    media: list[list[Media]]


def preview(split: Split, policy: ViewPolicy, seed: int, samples: int = 8, modality: Modality | None = None) -> Preview:
    """Return samples and their views, to be looked at.

    Args:
        split: where the samples come from; the first of a seeded shuffle that can be read are shown.
        policy: the view policy; its `picture` makes each row.
        seed: of the shuffle and of the views.
        samples: how many rows.
        modality: of the samples, for what is shown beside the picture; None shows nothing.

    Raises:
        UserError: no sample can be read.
    """
    drawn = policy.draw(generator(seed, "picture", 1), min(samples, len(split)))
    rows: list[Tensor] = []
    media: list[list[Media]] = []
    for sample in _readable(split, seed):
        params = {name: value[len(rows) : len(rows) + 1] for name, value in drawn.items()}
        as_read = _batch([sample], split)
        try:
            row = policy.picture(as_read, policy(policy.collate(as_read, params)))
            media.append([] if modality is None else modality.media(sample))
        except BadSample:  # some are decoded as late as this
            continue
        rows.append(row)
        del sample, as_read  # before another is read: they may be large
        if len(rows) == samples:
            break
    if not rows:
        raise _none_of(split)
    width = max(row.shape[2] for row in rows)
    ends = [0, *itertools.accumulate(row.shape[1] for row in rows)]
    picture = torch.cat([pad(row, (0, width - row.shape[2]), value=WHITE) for row in rows], dim=1)
    return Preview(picture, list(itertools.pairwise(ends)), media)


def picture_of_views(split: Split, policy: ViewPolicy, seed: int, samples: int = 8) -> Tensor:
    """Return a grid of samples and their views as a picture `(3, H, W)`, uint8; see `preview`."""
    return preview(split, policy, seed, samples).picture


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
        raise _none_of(split)


def _none_of(split: Split) -> UserError:
    return UserError(f"none of the {len(split)} samples can be read.")
