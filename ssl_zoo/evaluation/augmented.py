"""Features of augmented views: several of each sample, made as in training, and the same ones every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View, encode
from ssl_zoo.data.bad_samples import BadSample, Budget
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.evaluation.contract import NotOffered
from ssl_zoo.evaluation.features import at_a_time, by_name, chosen, on_device
from ssl_zoo.rng import generator

STREAM = "evaluation_views"
"""What is random in the views is drawn from this stream, whatever the seed of the run."""

Drawn = dict[str, Tensor]


@dataclass(frozen=True)
class AugmentedViews:
    """Some samples of a split, and the features of views of them by the view policy of the training.

    The views are those that others are to predict (`View.is_target`), of one layout: of a policy with global and local
    views the global ones. Where a policy makes fewer than are asked for, it is asked again. What is random in them
    depends on the samples that are asked for and on nothing else, so that the encoder, the untrained encoder and the
    raw input see the same views, and so does every run on the same data.

    Attributes:
        encoder: view -> h `(B, D)`; None is the raw input, as `modality.raw` makes it of a view.
        policy: the view policy.
        modality: of the samples.
        split: the samples are in.
        index: `(N,)` positions of the samples.
        device: where views and features are made.
        half: whether the encoder computes in bfloat16.
        member: the member of the samples whose views are meant, or the modality.
        made: what was made before, for all members.
    """

    encoder: nn.Module | None
    policy: ViewPolicy
    modality: Modality
    split: Split
    index: Tensor
    member: str
    device: torch.device | str = "cpu"
    half: bool = False
    made: dict[Any, dict[str, Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def y(self) -> Tensor | None:
        """The labels `(N,)`, or None."""
        return None if self.split.labels is None else self.split.labels[self.index]

    @property
    def finite(self) -> Tensor:
        """True for each sample: nothing is computed yet; `features` refuses what is not finite."""
        return torch.ones(len(self), dtype=torch.bool)

    def take(self, index: Tensor) -> AugmentedViews:
        """Return the samples at `index`, in that order."""
        return replace(self, index=self.index[index.to(self.index.device)])

    def to(self, device: torch.device | str) -> AugmentedViews:
        """Return the same on a device."""
        return replace(self, device=device)

    def features(self, samples: int, views: int) -> Tensor:
        """Return the features of views, `(M, views, D)`, float32 on the device, of the samples that can be read.

        Args:
            samples: the most samples; they are chosen at random, the same ones every time.
            views: of each sample.

        Raises:
            NotOffered: some are not finite.
        """
        index = self.index[chosen(len(self), samples)]
        key = (index.numpy().tobytes(), views)
        if key not in self.made:
            self.made[key] = self._extract(index, views)
        x = self.made[key][self.member]
        num = int((~x.isfinite().flatten(1).all(dim=1)).sum())
        if num:
            raise NotOffered(f"the features of views of {num} of {len(x)} samples are not finite (nan or inf)")
        return x.to(self.device)

    def _extract(self, index: Tensor, views: int) -> dict[str, Tensor]:
        """Return `{member: (M, views, D)}` of samples."""
        rounds = math.ceil(views / min(len(_targets(spec.views)) for spec in self.policy.spec.each.values()))
        drawn = [self.policy.draw(generator(0, STREAM, number), len(index)) for number in range(rounds)]
        budget = self.split.budget()
        parts: dict[str, list[Tensor]] = {name: [] for name in self.policy.spec.each}
        context = nullcontext(None) if self.encoder is None else on_device(self.encoder, self.device, self.half)
        with context as call, torch.no_grad():
            for rows in torch.arange(len(index)).split(at_a_time(self.policy.spec, 512)):
                own = [{name: value[rows] for name, value in each.items()} for each in drawn]
                made = [self.policy(payload) for payload in self._payloads(index[rows], own, budget)]
                for name, part in parts.items():
                    several = [view for each in made for view in _targets(by_name(each)[name])][:views]
                    if several:
                        part.append(torch.stack([self._embed(view, call) for view in several], dim=1))
        if not any(parts.values()):
            raise ValueError("an empty split has no features")
        return {name: torch.cat(part) for name, part in parts.items()}

    def _embed(self, view: View, call: Any) -> Tensor:
        x: Tensor = self.modality.raw(view) if self.encoder is None else call(encode, self.encoder, view)
        return x.float().cpu()

    def _payloads(self, index: Tensor, drawn: Sequence[Drawn], budget: Budget | None) -> list[Drawn]:
        """Return a payload of the view policy for each draw, without samples that cannot be read; none of no samples.

        What views need of large samples is cut out as soon as each is read.
        """
        cuts: Any
        if self.split.stacked:
            whole = self.split.read_batch(index)
            cuts, rows = [whole for _ in drawn], list(range(len(index)))
        else:
            cuts, rows = [[] for _ in drawn], []
            for row, i in enumerate(index.tolist()):
                try:
                    sample = self.split.read(i)
                    own = [self.policy.cut([sample], _rows(each, [row])) for each in drawn]
                except BadSample as error:
                    if budget is None:
                        raise
                    budget.add(error.name, error.reason)
                    continue
                rows.append(row)
                for kept, (cut,) in zip(cuts, own, strict=True):
                    kept.append(cut)
        if not rows:
            return []
        payloads = [self.policy.collate(each, _rows(params, rows)) for each, params in zip(cuts, drawn, strict=True)]
        return [{name: value.to(self.device) for name, value in payload.items()} for payload in payloads]


def _rows(params: Drawn, rows: list[int]) -> Drawn:
    return {name: value[rows] for name, value in params.items()}


def _targets(views: Sequence[Any]) -> list[Any]:
    """Return the views, or their specs, that others are to predict and that have the shape of the first of them."""
    known = [view for view in views if view.is_target] or list(views)
    return [view for view in known if _shape(view) == _shape(known[0])]


def _shape(view: Any) -> object:
    return view.layout if isinstance(view, View) else view.shape
