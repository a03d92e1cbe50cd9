"""Batches of labelled samples for protocols that train: the first view of each, in a random order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.rng import generator


def labelled_batches(
    train: Subject,
    labels: Tensor,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    stream: str,
    policy: ViewPolicy | None = None,
) -> Iterator[tuple[View, Tensor]]:
    """Yield the first view of some samples and their labels, once for each step.

    Every pass over the samples has an order of its own; samples that are left at its end, fewer than a batch, are not
    used in it. Samples that cannot be read are left out of their batch.

    Args:
        train: the samples.
        labels: `(N,)`, theirs.
        steps: the number of batches.
        batch_size: samples in each; smaller data is used whole.
        seed: of order and views: batches are a function of it, the samples and the stream.
        stream: the name of the random stream, see `ssl_zoo.rng`.
        policy: of the views, in place of that of the samples.
    """
    policy = train.policy if policy is None else policy
    size = min(batch_size, len(train))
    order, used = torch.randperm(len(train), generator=generator(seed, stream, 0)), 0
    for step in range(steps):
        if used + size > len(order):
            order, used = torch.randperm(len(train), generator=generator(seed, stream, step)), 0
        rows, used = order[used : used + size], used + size
        kept, samples = [], []
        for row in rows.tolist():
            try:
                samples.append(train.split.read(int(train.index[row])))
            except BadSample:
                continue  # the training of the run has named it
            kept.append(row)
        params = policy.draw(generator(seed, f"{stream} views", step), len(kept))
        batch = torch.stack(samples) if train.split.stacked else samples
        payload = policy.collate(batch, params)
        views = policy({name: value.to(train.device) for name, value in payload.items()})
        yield views[0], labels[kept].to(train.device)
