"""Embeddings of samples that are mappings: of each member, and what each member predicts of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.contract import NotOffered
from ssl_zoo.evaluation.features import by_name, collect, first_sample, mean_over, on_device


@dataclass(frozen=True)
class Aligned:
    """The members of each sample, embedded so that they can be compared, and the label of the sample.

    Attributes:
        z: `{member: (N, D)}`, its embedding.
        p: `{(member, other): (N, D)}`, the prediction of the other's embedding from the member, where there is one.
        y: int64 `(N,)` class indices, or None.
        class_names: the name of each class, or None.
        readers: the members that take strings.
        read: (member, strings) -> their embeddings `(M, D)`.
    """

    z: Mapping[str, Tensor]
    p: Mapping[tuple[str, str], Tensor]
    y: Tensor | None = None
    class_names: Sequence[str] | None = None
    readers: tuple[str, ...] = ()
    read: Callable[[str, Sequence[str]], Tensor] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.z.values())))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Aligned:
        z = {name: function(x) for name, x in self.z.items()}
        p = {names: function(x) for names, x in self.p.items()}
        return replace(self, z=z, p=p, y=None if self.y is None else function(self.y))

    def take(self, index: Tensor) -> Aligned:
        """Return the samples at `index`, in that order."""
        return self._map(lambda x: x[index.to(x.device)])

    def to(self, device: torch.device | str) -> Aligned:
        """Return the embeddings on a device."""
        return self._map(lambda x: x.to(device))

    @property
    def labels(self) -> Tensor:
        """The labels.

        Raises:
            ValueError: there are none.
        """
        if self.y is None:
            raise ValueError("these samples have no labels")
        return self.y

    @property
    def finite(self) -> Tensor:
        """Whether all numbers of a sample are finite, `(N,)`."""
        return torch.stack([x.isfinite().all(dim=1) for x in (*self.z.values(), *self.p.values())]).all(dim=0)


def extract_aligned(
    encoder: nn.Module,
    policy: ViewPolicy,
    modality: Modality,
    split: Split,
    *,
    device: torch.device | str,
    limit: int | None = None,
    half: bool = False,
    log: Callable[[str], None] | None = None,
) -> Aligned:
    """Return the embeddings of the members of a split's samples, in main memory.

    Args:
        encoder: one with `embedding(view) -> (B, D)` and `align(view, towards) -> (B, D)`, the prediction of the
            embedding of the member `towards`; moved to `device`.
        policy: the view policy, whose `looks` are encoded; embeddings of several looks are averaged. `members` are the
            policies of the members by name.
        modality: of the samples; `members` are the modalities of the members by name.
        split: the samples.
        device: where the encoder runs.
        limit: largest number of samples.
        half: whether the encoder computes in bfloat16.
        log: gets a sentence for each member that is not predicted from another one.

    Raises:
        NotOffered: samples have no members, or none is predicted.
    """
    module: Any = encoder
    embedding, align = module.embedding, module.align
    members = [name for name, _ in policy.spec.members]
    if len(members) < 2:
        raise NotOffered("samples have no members that could be compared")

    with on_device(encoder, device, half) as call:
        directions = _directions(members, policy, split, partial(call, align), device, log)

        def embed(views: list[View]) -> dict[str, Tensor]:
            seen = by_name(views)
            found = {name: mean_over(seen[name], partial(call, embedding)) for name in members}
            for one, other in directions:
                found[f"{one}/{other}"] = mean_over(seen[one], partial(call, align, towards=other))
            return found

        found, labels = collect(policy, split, embed, limit=limit, device=device)
    return Aligned(
        {name: found[name] for name in members},
        {(one, other): found[f"{one}/{other}"] for one, other in directions},
        labels,
        split.class_names,
        tuple(name for name in members if _member(modality, name).reads_text),
        _reader(encoder, embedding, policy, modality, device, half),
    )


def _directions(
    members: Sequence[str],
    policy: ViewPolicy,
    split: Split,
    align: Callable[..., Tensor],
    device: torch.device | str,
    log: Callable[[str], None] | None,
) -> list[tuple[str, str]]:
    """Return (member, other) where the other is predicted from the member, found out on the first sample.

    Raises:
        NotOffered: there is none.
    """
    sample = first_sample(split)
    if sample is None:
        raise ValueError("an empty split has no features")
    views = {view.modality: view.map(lambda x: x.to(device)) for view in policy.looks([sample])}
    found, reason = [], ""
    for one, other in permutations(members, 2):
        try:
            with torch.no_grad():
                align(views[one], towards=other)
        except UserError as error:
            reason = str(error).removesuffix(".")
            if log is not None:
                log(f"{other} is not compared with what {one} predicts: {reason}")
            continue
        found.append((one, other))
    if not found:
        raise NotOffered(reason)
    return found


def _member(whole: Any, name: str) -> Any:
    """Return the policy or the modality of a member."""
    return whole.members[name]


def _reader(
    encoder: nn.Module, embedding: Any, policy: ViewPolicy, modality: Modality, device: torch.device | str, half: bool
) -> Callable[[str, Sequence[str]], Tensor]:
    """Return a function that embeds strings by a member."""

    def read(member: str, strings: Sequence[str]) -> Tensor:
        samples = [_member(modality, member).from_value(each, repr(each)) for each in strings]
        view = replace(_member(policy, member).plain(samples), modality=member).map(lambda x: x.to(device))
        with on_device(encoder, device, half) as call, torch.no_grad():
            embedded: Tensor = call(embedding, view)
        return embedded.float()

    return read
