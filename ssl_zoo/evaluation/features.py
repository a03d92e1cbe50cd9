"""Features of a data set, computed once and shared by all protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View, encode, stack_alike
from ssl_zoo.data.bad_samples import BadSample, Budget
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.rng import generator


@dataclass(frozen=True)
class Features:
    """One vector per sample, and its label where there is one.

    Attributes:
        x: float32 `(N, D)`.
        y: int64 `(N,)` class indices, or None.
    """

    x: Tensor
    y: Tensor | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or (self.y is not None and self.y.shape != self.x.shape[:1]):
            labels = None if self.y is None else tuple(self.y.shape)
            raise ValueError(f"features are (N, D) with labels (N,), not {tuple(self.x.shape)} with {labels}")

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Features:
        """Return the samples at `index`, in that order."""
        return Features(self.x[index.to(self.x.device)], None if self.y is None else self.y[index.to(self.y.device)])

    @property
    def labels(self) -> Tensor:
        """The labels.

        Raises:
            ValueError: there are none.
        """
        if self.y is None:
            raise ValueError("these features have no labels")
        return self.y

    def to(self, device: torch.device | str) -> Features:
        """Return the features on a device: protocols compute where the features are."""
        return Features(self.x.to(device), None if self.y is None else self.y.to(device))


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


def chosen(num: int, limit: int | None) -> Tensor:
    """Return the indices of the samples that are evaluated: all, or `limit` of them.

    They are drawn at random, since data sets are often sorted by class, with a fixed seed, so that every
    representation of a split is judged on the same samples.
    """
    if limit is None or limit >= num:
        return torch.arange(num)
    return torch.randperm(num, generator=generator(0, "limit"))[:limit].sort().values


def plain(
    policy: ViewPolicy, split: Split, index: Tensor, device: torch.device | str = "cpu", budget: Budget | None = None
) -> tuple[View | None, Tensor]:
    """Return plain samples of a split and their indices: those asked for, less those that `budget` allows to skip.

    Samples that the split does not keep as one tensor are made plain one by one, as soon as they are read: a batch of
    large samples would take gigabytes. None stands for no samples.
    """
    if split.stacked:
        samples = split.read_batch(index)
        return policy.plain(samples.to(device) if isinstance(samples, Tensor) else samples), index
    views, kept = [], []
    for i in index.tolist():
        try:
            views.append(policy.plain([split.read(i)]))
        except BadSample as error:
            if budget is None:
                raise
            budget.add(error.name, error.reason)
            continue
        kept.append(i)
    return stack_alike(views) if views else None, torch.tensor(kept, dtype=torch.int64)


def _collect(
    policy: ViewPolicy,
    split: Split,
    embed: Callable[[View], Tensor],
    *,
    batch_size: int,
    limit: int | None,
    device: torch.device | str,
) -> Features:
    """Apply `embed` to the plain samples of a split, in batches on `device`; the result lies in main memory."""
    budget = split.budget()
    x: Tensor | None = None
    used = []
    num = 0
    index = chosen(len(split), limit)
    with torch.no_grad():
        for part in index.split(batch_size):
            view, kept = plain(policy, split, part, device, budget)
            if view is None:
                continue
            h = embed(view.map(lambda x: x.to(device))).float().cpu()
            if x is None:
                x = torch.empty(len(index), h.shape[1])
            x[num : num + len(kept)] = h
            num += len(kept)
            used.append(kept)
    if x is None:
        raise ValueError("an empty split has no features")
    return Features(x[:num], None if split.labels is None else split.labels[torch.cat(used)])


def extract(
    encoder: nn.Module,
    policy: ViewPolicy,
    split: Split,
    *,
    batch_size: int = 512,
    device: torch.device | str,
    limit: int | None = None,
    half: bool = False,
) -> Features:
    """Return the embeddings h of a split, from an encoder in eval mode.

    Parameters, buffers and training modes of the encoder are afterwards what they were before (its device is `device`).

    Args:
        encoder: view -> h `(B, D)`; moved to `device`.
        policy: the view policy, whose `plain` samples are encoded.
        split: the samples; read in batches if it is `stacked`.
        batch_size: how many samples are encoded at a time.
        device: where the encoder runs.
        limit: largest number of samples, drawn with a fixed seed, see `chosen`.
        half: whether the encoder computes in bfloat16 (autocast); the features are float32 all the same.
    """
    encoder.to(device)

    def embed(view: View) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            return encode(encoder, view)

    with evaluating(encoder):
        return _collect(policy, split, embed, batch_size=batch_size, limit=limit, device=device)


def raw(
    modality: Modality, policy: ViewPolicy, split: Split, limit: int | None = None, *, batch_size: int = 512
) -> Features:
    """Return the samples themselves as features: the baseline that any encoder has to beat.

    Args:
        modality: its `raw` makes features of plain samples.
        policy: the view policy, whose `plain` samples they are.
        split: the samples.
        limit: as in `extract`; the same samples are taken.
        batch_size: how many samples are read at a time.
    """
    return _collect(policy, split, modality.raw, batch_size=batch_size, limit=limit, device="cpu")
