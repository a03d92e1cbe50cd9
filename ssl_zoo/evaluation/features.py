"""Features of a data set, computed once and shared by all protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View, encode, stack_alike
from ssl_zoo.data.bad_samples import BadSample, Budget
from ssl_zoo.data.encoding import at_a_time as at_a_time
from ssl_zoo.data.encoding import evaluating as evaluating
from ssl_zoo.data.encoding import mean_over as mean_over
from ssl_zoo.data.held import KeptSplit
from ssl_zoo.data.progress import progress
from ssl_zoo.data.source import Modality, Sample, Split, ViewPolicy
from ssl_zoo.data.transfer import to_device
from ssl_zoo.hardware import arithmetic
from ssl_zoo.rng import generator


@dataclass(frozen=True)
class Features:
    """One vector per sample, and its label where there is one.

    Attributes:
        x: float32 `(N, D)`.
        y: int64 `(N,)` class indices, or None.
        index: int64 `(N,)` positions of the samples in their split, or None where they are not known.
    """

    x: Tensor
    y: Tensor | None = None
    index: Tensor | None = None
    axes: ClassVar[str] = "(N, D)"

    def __post_init__(self) -> None:
        if self.x.ndim != self.axes.count(",") + 1 or (self.y is not None and self.y.shape != self.x.shape[:1]):
            labels = None if self.y is None else tuple(self.y.shape)
            raise ValueError(f"features are {self.axes} with labels (N,), not {tuple(self.x.shape)} with {labels}")

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Self:
        """Return the samples at `index`, in that order."""
        y, places = (None if each is None else each[index.to(each.device)] for each in (self.y, self.index))
        return replace(self, x=self.x[index.to(self.x.device)], y=y, index=places)

    @property
    def labels(self) -> Tensor:
        """The labels.

        Raises:
            ValueError: there are none.
        """
        if self.y is None:
            raise ValueError("these features have no labels")
        return self.y

    @property
    def finite(self) -> Tensor:
        """Whether all numbers of a sample are finite, `(N,)`."""
        return self.x.isfinite().flatten(1).all(dim=1)

    def to(self, device: torch.device | str) -> Self:
        """Return the features on a device: protocols compute where the features are."""
        return replace(self, x=self.x.to(device), y=None if self.y is None else self.y.to(device))


@dataclass(frozen=True)
class Tokens(Features):
    """The features of the places of each sample, and its label where there is one.

    Attributes:
        x: float32 `(N, T, D)`.
        y: int64 `(N,)` class indices, or None.
    """

    axes: ClassVar[str] = "(N, T, D)"


def chosen(num: int, limit: int | None) -> Tensor:
    """Return the indices of the samples that are evaluated: all, or `limit` of them.

    They are drawn at random, since data sets are often sorted by class, with a fixed seed, so that every
    representation of a split is judged on the same samples.
    """
    if limit is None or limit >= num:
        return torch.arange(num)
    return torch.randperm(num, generator=generator(0, "limit"))[:limit].sort().values


def looks(
    policy: ViewPolicy, split: Split, index: Tensor, device: torch.device | str = "cpu", budget: Budget | None = None
) -> tuple[list[View], Tensor]:
    """Return what the evaluation sees of some samples and their indices: less those that `budget` allows to skip.

    Samples that the split does not keep in memory are looked at one by one, as soon as they are read: a batch of large
    samples would take gigabytes. No views stand for no samples.
    """
    if split.stacked or isinstance(split, KeptSplit):
        samples = split.read_batch(index)
        return policy.looks(to_device(samples, device) if isinstance(samples, Tensor) else samples), index
    views, kept = [], []
    for i in index.tolist():
        try:
            views.append(policy.looks([split.read(i)]))
        except BadSample as error:
            if budget is None:
                raise
            budget.add(error.name, error.reason)
            continue
        kept.append(i)
    stacked = [stack_alike(each) for each in zip(*views, strict=True)]
    return stacked, torch.tensor(kept, dtype=torch.int64)


def first_sample(split: Split) -> Sample | None:
    """Return the first sample that can be read."""
    for i in range(len(split)):
        try:
            return split.read(i)
        except BadSample:
            continue  # the evaluation counts them
    return None


def by_name(views: Sequence[View]) -> dict[str, list[View]]:
    """Return views by the name of their modality or member."""
    found: dict[str, list[View]] = {}
    for view in views:
        found.setdefault(view.modality, []).append(view)
    return found


def collect(
    policy: ViewPolicy, split: Split, embed: Callable[[list[View]], Mapping[str, Tensor]], **how: Any
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return what `collect_at` does, with its arguments, and the labels of the samples in place of their positions."""
    found, used = collect_at(policy, split, embed, **how)
    return found, None if split.labels is None else split.labels[used]


def collect_at(
    policy: ViewPolicy,
    split: Split,
    embed: Callable[[list[View]], Mapping[str, Tensor]],
    *,
    batch_size: int = 512,
    limit: int | None = None,
    index: Tensor | None = None,
    device: torch.device | str,
) -> tuple[dict[str, Tensor], Tensor]:
    """Apply a function to what the evaluation sees of a split, in batches on `device`.

    Args:
        policy: the view policy; its `looks` are seen.
        split: the samples.
        embed: views of the same samples -> `{name: (B, ...)}`, the same names for all batches.
        batch_size: how many samples are read at a time, at most.
        limit: largest number of samples, see `chosen`.
        index: `(N,)` positions of the samples, in place of a limit.
        device: where `embed` runs.

    Returns:
        `{name: (N, ...)}`, float32 in main memory, and the positions `(N,)` of the samples in the split.
    """
    budget = split.budget()
    found: dict[str, Tensor] = {}
    used = []
    num = 0
    index = chosen(len(split), limit) if index is None else index
    with torch.no_grad():
        for part in progress(index.split(at_a_time(policy.spec, batch_size)), "encoding", "batches"):
            views, kept = looks(policy, split, part, device, budget)
            if not views:
                continue
            for name, value in embed([view.map(lambda x: to_device(x, device)) for view in views]).items():
                if name not in found:
                    found[name] = torch.empty(len(index), *value.shape[1:])
                found[name][num : num + len(kept)] = value.float().cpu()
            num += len(kept)
            used.append(kept)
    if not found:
        raise ValueError("an empty split has no features")
    return {name: value[:num] for name, value in found.items()}, torch.cat(used)


def _features(policy: ViewPolicy, split: Split, embed: Callable[[View], Tensor], **how: Any) -> dict[str, Features]:
    """Return the mean of the embeddings of what is seen of each sample, for each modality."""

    def means(views: list[View]) -> dict[str, Tensor]:
        return {name: mean_over(each, embed) for name, each in by_name(views).items()}

    found, index = collect_at(policy, split, means, **how)
    labels = None if split.labels is None else split.labels[index]
    return {name: Features(x, labels, index) for name, x in found.items()}


@contextmanager
def on_device(encoder: nn.Module, device: torch.device | str, half: bool = False) -> Iterator[Callable[..., Any]]:
    """A context in which an encoder is on a device and in eval mode; afterwards its training modes are as before.

    Yields:
        A function that calls a function with arguments, in bfloat16 (autocast) if `half`.
    """

    def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            return function(*arguments, **options)

    encoder.to(device)
    with arithmetic(torch.device(device).type), evaluating(encoder):
        yield call


def extract_each(
    encoder: nn.Module,
    policy: ViewPolicy,
    split: Split,
    *,
    batch_size: int = 512,
    device: torch.device | str,
    limit: int | None = None,
    half: bool = False,
) -> dict[str, Features]:
    """Return the embeddings h of a split by an encoder in eval mode, for each modality that the policy looks at.

    Where the policy looks at a sample several times, such as at several clips, h is the mean. Parameters, buffers and
    training modes of the encoder are afterwards what they were before (its device is `device`).

    Args:
        encoder: view -> h `(B, D)`; moved to `device`.
        policy: the view policy, whose `looks` are encoded.
        split: the samples; read in batches if they are in memory.
        batch_size: how many samples are encoded at a time, at most.
        device: where the encoder runs.
        limit: largest number of samples, drawn with a fixed seed, see `chosen`.
        half: whether the encoder computes in bfloat16 (autocast); the features are float32 all the same.
    """
    with on_device(encoder, device, half) as call:
        embed = partial(call, encode, encoder)
        return _features(policy, split, embed, batch_size=batch_size, limit=limit, device=device)


def extract(encoder: nn.Module, policy: ViewPolicy, split: Split, **how: Any) -> Features:
    """Return the embeddings h of a split of one modality; its keyword arguments are those of `extract_each`."""
    (features,) = extract_each(encoder, policy, split, **how).values()
    return features


def raw_each(
    modality: Modality, policy: ViewPolicy, split: Split, limit: int | None = None, *, batch_size: int = 512
) -> dict[str, Features]:
    """Return the samples themselves as features: the baseline that any encoder has to beat, for each modality.

    Args:
        modality: its `raw` makes features of plain samples.
        policy: the view policy, whose `looks` they are.
        split: the samples.
        limit: as in `extract_each`; the same samples are taken.
        batch_size: how many samples are read at a time, at most.
    """
    return _features(policy, split, modality.raw, batch_size=batch_size, limit=limit, device="cpu")


def raw(modality: Modality, policy: ViewPolicy, split: Split, limit: int | None = None, **how: Any) -> Features:
    """Return the samples of one modality as features; its arguments are those of `raw_each`."""
    (features,) = raw_each(modality, policy, split, limit, **how).values()
    return features
