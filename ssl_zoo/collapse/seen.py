"""What the rules of the collapse guard judge, and what they find: kinds of collapse, `Seen` and `Finding`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal[
    "non-finite", "divergence", "complete", "dimensional", "cluster", "tokens", "apart", "no learning", "drift"
]  # fmt: skip
"""Kinds of collapse.

- `non-finite`: embeddings that are nan or infinite.
- `divergence`: the weights have grown far beyond those of the start.
- `complete`: all samples at one point, or views of one sample no nearer than those of two.
- `dimensional`: all samples on a few lines.
- `cluster`: of softmax heads: all samples in one cluster, or all spread over all clusters alike.
- `tokens`: the tokens of a sample all alike, or dependent on nothing but their place.
- `apart`: of samples that are mappings: a member whose embeddings have nothing to do with those of the others.
- `no learning`: the weights stay where they started.
- `drift`: of runs that were given first weights: the encoder tells samples apart less well than they did.
"""

Z, H = "z", "h"
PREFIX = {Z: "", H: "h."}
NAMES = {Z: "the embeddings", H: "the encoder's outputs"}

LEARNED = 1.1
"""Views have come to agree where they share this much more of their variance than at the start."""


@dataclass(frozen=True)
class Finding:
    """What a rule has found.

    Attributes:
        kind: of collapse.
        of: `z`, the projection, or `h`, the encoder's output; empty where it is neither.
        metric: that shows it, as in the measurement.
        value: its mean over the last checks.
        reference: what it is compared with.
        text: the sentence, without its end.
    """

    kind: Kind
    of: str
    metric: str
    value: float
    reference: float
    text: str


@dataclass(frozen=True)
class Seen:
    """What the rules judge.

    Attributes:
        mean: metrics, means over the last checks.
        start: metrics at the start of the run.
        limit: the rank that width and batch allow.
        ease: factor on all limits.
        growth: of the spread, from the first to the last of the checks; infinite where it is not to be judged.
        spreads: whether the objective has a term that does more than pull views together.
        lasting: whether the spread has been low for twice as many checks as are judged.
        progress: part of the run that is done; None where it is not known.
        shrinks: whether embeddings that shrink to one point solve the objective.
        given: whether the run was given first weights.
        of: whose metrics stand under the plain names.
    """

    mean: Mapping[str, float]
    start: Mapping[str, float]
    limit: int
    ease: float = 1.0
    growth: float = math.inf
    spreads: bool = False
    lasting: bool = True
    progress: float | None = None
    shrinks: bool = False
    given: bool = False
    of: str = Z

    @property
    def features(self) -> Seen | None:
        """The same of the encoder's output, where it was measured."""
        if "h.std" not in self.mean or "h.std" not in self.start:
            return None
        mean, start = (
            {key.removeprefix("h."): value for key, value in metrics.items() if key.startswith("h.")}
            for metrics in (self.mean, self.start)
        )
        rank = math.ceil(start.get("effective_rank", 1.0))
        return replace(self, mean=mean, start=start, limit=rank, shrinks=False, growth=math.inf, of=H)

    @property
    def learned(self) -> bool:
        """Whether two views share clearly more of their variance than at the start; False where it was not measured."""
        return self.mean.get("agreement", 0.0) > LEARNED * self.start.get("agreement", 0.0)

    def found(self, kind: Kind, metric: str, value: float, reference: float, text: str) -> Finding:
        """Return a finding about z or h."""
        return Finding(kind, self.of, PREFIX[self.of] + metric, value, reference, f"{NAMES[self.of]} {text}")
