"""Features: what an encoder makes of a data set, computed once and shared by all protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_zoo.batch import View, encode
from ssl_zoo.data.source import BadSample, Budget
from ssl_zoo.rng import generator


@dataclass(frozen=True)
class Features:
    """One vector a sample, and its label where there is one.

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
        """The labels, for who cannot do without."""
        if self.y is None:
            raise ValueError("these features have no labels")
        return self.y

    def to(self, device: torch.device | str) -> Features:
        """Return the features on a device: protocols compute where the features are."""
        return Features(self.x.to(device), None if self.y is None else self.y.to(device))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode and each of its parts back as it was: one that was frozen in eval mode stays so."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def chosen(num: int, limit: int | None) -> Tensor:
    """Return the indices of the samples that count: all, or `limit` of them.

    They are drawn at random, since data sets are often sorted by class, with a fixed seed, so that every
    representation of a split is judged on the same samples.
    """
    if limit is None or limit >= num:
        return torch.arange(num)
    return torch.randperm(num, generator=generator(0, "limit"))[:limit].sort().values


def plain(
    policy: Any, split: Any, index: Tensor, device: torch.device | str = "cpu", budget: Budget | None = None
) -> tuple[Tensor | None, Tensor]:
    """Return plain samples of a split and their indices: those asked for, less those that `budget` lets be left out.

    Samples that the split does not keep as one tensor are made plain one by one, as soon as they are read: a batch of
    whole photographs would take gigabytes. None stands for no samples.
    """
    if hasattr(split, "read_batch"):
        return policy.plain(split.read_batch(index).to(device)), index
    samples, kept = [], []
    for i in index.tolist():
        try:
            samples.append(policy.plain(split.read(i)[None]))
        except BadSample as error:
            if budget is None:
                raise
            budget.add(error.name, error.reason)
            continue
        kept.append(i)
    return torch.cat(samples) if samples else None, torch.tensor(kept, dtype=torch.int64)


def _collect(
    policy: Any,
    split: Any,
    embed: Callable[[Tensor], Tensor],
    *,
    batch_size: int,
    limit: int | None,
    device: torch.device | str,
) -> Features:
    """Apply `embed` to the plain samples of a split, in batches on `device`; the result lies in main memory."""
    budget = split.budget() if hasattr(split, "budget") else None
    x: Tensor | None = None
    used = []
    num = 0
    index = chosen(len(split), limit)
    with torch.no_grad():
        for part in index.split(batch_size):
            samples, kept = plain(policy, split, part, device, budget)
            if samples is None:
                continue
            h = embed(samples.to(device)).float().cpu()
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
    policy: Any,
    split: Any,
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
        policy: the view policy; its `plain` says how samples look without augmentation.
        split: the samples; read in batches if it has `read_batch`.
        batch_size: how many samples are encoded at a time.
        device: where the encoder runs.
        limit: at most so many samples, drawn with a fixed seed, see `chosen`.
        half: whether the encoder computes in bfloat16 (autocast); the features are float32 all the same.
    """
    encoder.to(device)

    def embed(plain: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            return encode(encoder, View(plain, policy.modality))

    with evaluating(encoder):
        return _collect(policy, split, embed, batch_size=batch_size, limit=limit, device=device)


def _flat(plain: Tensor, max_dim: int) -> Tensor:
    if plain[0].numel() <= max_dim:
        return plain.flatten(1)
    if plain.ndim == 2:
        plain = plain[:, None]
    scale = (max_dim / plain[0].numel()) ** (1 / (plain.ndim - 2))
    size = [max(1, int(side * scale)) for side in plain.shape[2:]]
    return F.interpolate(plain.float(), size=size, mode="area").flatten(1)


def pixels(
    policy: Any, split: Any, limit: int | None = None, *, batch_size: int = 512, max_dim: int = 4096
) -> Features:
    """Return the samples themselves as features: what any encoder has to beat.

    Args:
        policy: the view policy; `plain` gives `(B, C, ...)`, which is flattened.
        split: the samples.
        limit: as in `extract`; the same samples are taken.
        batch_size: how many samples are read at a time.
        max_dim: a sample of more numbers than this is first averaged over areas, all sides by the same factor, so that
            large images stay affordable: 224 x 224 colour becomes 36 x 36.
    """

    def flatten(plain: Tensor) -> Tensor:
        return _flat(plain, max_dim)

    return _collect(policy, split, flatten, batch_size=batch_size, limit=limit, device="cpu")
