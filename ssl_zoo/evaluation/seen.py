"""The samples of an evaluation, and what protocols see of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.evaluation.aligned import Aligned, extract_aligned
from ssl_zoo.evaluation.augmented import AugmentedViews
from ssl_zoo.evaluation.contract import NotOffered
from ssl_zoo.evaluation.features import Features, Tokens, chosen, extract_each, raw_each
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.evaluation.tokens import extract_tokens
from ssl_zoo.registry import PartFailed

Log = Callable[[str], None]

OF_ANYTHING: tuple[type[Any], ...] = (Features, AugmentedViews)
"""What any encoder has, and the raw input too."""


class Judged(Protocol):
    """What protocols get of some samples: `Features`, `Tokens`, `Aligned`, `AugmentedViews` or a `Subject`."""

    @property
    def y(self) -> Tensor | None:
        """The labels `(N,)`, or None."""

    @property
    def finite(self) -> Tensor:
        """Whether all numbers of a sample are finite, `(N,)`."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Self:
        """Return the samples at `index`."""


def lacking(encoder: nn.Module, sees: type[Any]) -> str:
    """Return why an encoder does not have what a protocol sees; empty where it may."""
    name = type(encoder).__name__
    if sees is Tokens and not hasattr(encoder, "tokens"):
        return f"the encoder {name} gives no features of places: it has no tokens(view)"
    if sees is Aligned and not (hasattr(encoder, "embedding") and hasattr(encoder, "align")):
        return f"the encoder {name} compares no members of samples: it has no embedding(view) and align(view, towards)"
    return ""


@dataclass(frozen=True)
class EvaluationData:
    """The samples of an evaluation, and how features are made of them.

    Attributes:
        policy: the view policy, for its `plain` samples.
        modality: of the samples.
        train: samples to learn from.
        test: samples to test on, or None.
        device: where encoders and protocols run.
        limit: largest number of samples of each split.
        half: whether encoders compute in bfloat16.
    """

    policy: ViewPolicy
    modality: Modality
    train: Split
    test: Split | None
    device: torch.device | str = "cpu"
    limit: int | None = None
    half: bool = False

    def seen(self, encoder: nn.Module | None, sees: type[Any], split: Split, log: Log) -> dict[str, Judged]:
        """Return what protocols see of a split, on the device, by the member of the samples, which may be empty.

        Args:
            encoder: None is the raw input.
            sees: the class of what they see, see `EvaluationProtocol.sees`.
            split: the samples.
            log: gets a sentence on what is left out or limited.

        Raises:
            NotOffered: the encoder, or the raw input, does not have it.
        """
        how: dict[str, Any] = {"device": self.device, "limit": self.limit, "half": self.half}
        found: Mapping[str, Any]
        if encoder is not None and (reason := lacking(encoder, sees)):
            raise NotOffered(reason)
        if encoder is None and sees not in OF_ANYTHING:
            raise NotOffered("the raw input has features only")
        if sees is AugmentedViews:
            return self._augmented(encoder, split)
        if encoder is None:
            found = raw_each(self.modality, self.policy, split, self.limit)
        elif sees is Features:
            found = extract_each(encoder, self.policy, split, **how)
        elif sees is Tokens:
            found = extract_tokens(encoder, self.policy, split, **how, log=log)
        elif sees is Aligned:
            aligned = extract_aligned(encoder, self.policy, self.modality, split, **how, log=log)
            # Cosines are computed in double precision, which MPS does not have.
            return {"": aligned if torch.device(self.device).type == "mps" else aligned.to(self.device)}
        elif sees is Subject:
            index = chosen(len(split), self.limit)
            more = (self.device, self.half, self.modality, self.limit)
            return {"": Subject(encoder, self.policy, split, index, *more)}
        else:
            raise PartFailed(
                f"a protocol sees {sees!r}, which is none of Features, Tokens, Aligned, AugmentedViews and Subject."
            )
        several = bool(self.policy.spec.members)
        return {name if several else "": each.to(self.device) for name, each in found.items()}

    def _augmented(self, encoder: nn.Module | None, split: Split) -> dict[str, Judged]:
        """Return the views of a split, for each member."""
        index = chosen(len(split), self.limit)
        made: dict[Any, dict[str, Tensor]] = {}
        several = bool(self.policy.spec.members)
        return {
            name if several else "": AugmentedViews(
                encoder, self.policy, self.modality, split, index, name, self.device, self.half, made
            )
            for name in self.policy.spec.each
        }
