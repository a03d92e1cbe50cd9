"""What the collapse guard is given: statistics of the last steps, of the samples of all processes.

A small batch says little about spread and rank. So the embeddings of a few steps before each check are kept where they
are, on the device, and judged together at the check: nothing is computed and nobody waits in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.batch import StepOutput
from ssl_zoo.collapse.members import defer_members
from ssl_zoo.collapse.metrics import defer_clusters, defer_embeddings, defer_tokens, defer_two, token_moments
from ssl_zoo.collapse.readback import Deferred, Values
from ssl_zoo.distributed import collectives
from ssl_zoo.distributed.shards import entries

ENOUGH_ROWS = 128
"""Samples that a check is to rest on: of so many steps that there are as many."""

MOST_PART = 25
"""They are of this part of the run at most, one in 25."""

MOST_NUMBERS = 2**24
"""The most numbers that are kept: with more, fewer steps (64 MiB in fp32)."""

FEW_WEIGHTS = 64
"""Entries of each weight that are watched, at most, at equal distances: its first row may be one that never changes, as
that of padding in a table of embeddings."""

FEATURES = "h."
"""The prefix of metrics of h, the encoder's output."""


class Measurement:
    """Measures a training for the collapse guard. The weights that it is made with are those of the start.

    Args:
        method: that is trained, as a module with `encoder` and `cluster_temperature`.
        every: steps between checks.
        total_steps: of the run.
        batch_size: samples of a step.
    """

    def __init__(self, method: Any, every: int, total_steps: int, batch_size: int):
        self.every, self.total_steps = every, total_steps
        self.temperature: float | None = method.cluster_temperature
        self.num_steps = max(1, min(-(-ENOUGH_ROWS // batch_size), total_steps // MOST_PART))
        self._weights = [p for p in method.encoder.parameters() if p.ndim > 1 and p.requires_grad]
        self._first = self._sample()
        self._kept: list[list[Tensor]] = []

    def _sample(self) -> Tensor | None:
        return entries(self._weights, FEW_WEIGHTS) if self._weights else None

    def due(self, number: int) -> bool:
        """Return whether to measure after a step: every so many steps, at the start, and at the end."""
        return number % self.every == 0 or number in (1, self.num_steps, self.total_steps)

    def enough(self, number: int) -> bool:
        """Return whether a measurement may be judged: of small batches, not before there are enough samples."""
        return number >= self.num_steps or number == self.total_steps

    def after_step(self, number: int, output: StepOutput) -> None:
        """Keep the embeddings of a step if the next check is to see them."""
        if number <= self.num_steps or -number % self.every < self.num_steps or number == self.total_steps:
            both = _gathered(output)
            numbers = sum(x.numel() for x in both)
            self._kept = [*self._kept, both][-max(1, min(self.num_steps, MOST_NUMBERS // numbers)) :]

    def take(self, output: StepOutput) -> Measured:
        """Measure; return what there is to be read.

        Args:
            output: of the step of the check.
        """
        steps = self._kept or [_gathered(output)]
        # the last step alone where shapes differ, as in a last batch of an epoch
        steps = [step for step in steps if [x.shape for x in step] == [x.shape for x in steps[-1]]]
        num = len(output.embeddings)
        z, h = _stacked([step[:num] for step in steps]), _stacked([step[num:] for step in steps])
        if h and not output.members:
            one, two = defer_two(z, h)
            parts = {"z": one, "h": two}
        else:
            parts = {"z": _defer(z, output.members), **({"h": _defer(h, output.members)} if h else {})}
        if output.tokens is not None:
            means = collectives.mean_all([mean for x in output.tokens for mean in token_moments(x)])
            parts["tokens"] = defer_tokens([means[i : i + 3] for i in range(0, len(means), 3)])
        if self.temperature is not None and not output.members:
            parts["clusters"] = defer_clusters(z, self.temperature)
        if (weights := self._defer_weights()) is not None:
            parts["weights"] = weights
        return Measured(parts, z[0].shape[2], len(z[0]) * z[0].shape[1])

    @torch.no_grad()
    def _defer_weights(self) -> Deferred | None:
        now = self._sample()
        if now is None or self._first is None:
            return None
        self._first = first = self._first.to(now.device)
        size = first.norm().clamp_min(torch.finfo(torch.float32).tiny)
        found = [now.norm() / size, (now - first).norm() / size]
        return Deferred(found, lambda got: {"weight_norm": got[0].item(), "weight_change": got[1].item()})

    def state(self) -> dict[str, Any]:
        """Return what the next check depends on: tensors. A checkpoint holds no numbers that are not finite."""
        kept = [step for step in self._kept if torch.stack([x.isfinite().all() for x in step]).all()]
        return {"first": self._first, "kept": kept}

    def load(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""
        self._first, self._kept = state["first"], state["kept"]


@dataclass(frozen=True)
class Measured:
    """A measurement whose numbers the device may still be at.

    Attributes:
        parts: what there is to be read.
        dim: the width of z.
        rows: the samples that it rests on.
    """

    parts: Mapping[str, Deferred]
    dim: int
    rows: int


def metrics_of(read: Mapping[str, Values]) -> Values:
    """Return the metrics of a check.

    Args:
        read: the numbers of `Measured.parts`.

    Returns:
        `embedding_metrics` of z and, with the prefix `h.`, of the encoder's output; `cluster_metrics`, `token_metrics`
        and weights' where there is something to measure.
    """
    metrics = dict(read["z"])
    if "std" in metrics or any(name.startswith("std.") for name in metrics):
        metrics |= {FEATURES + name: value for name, value in read.get("h", {}).items()}
        metrics |= {**read.get("tokens", {}), **read.get("clusters", {})}
    return metrics | read.get("weights", {})


def _gathered(output: StepOutput) -> list[Tensor]:
    """Return z and h of all processes."""
    return collectives.gather_all([*output.embeddings, *output.features])


def _stacked(steps: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Return the embeddings `(n, B, D)` of each view, of those `(B, D)` of n steps."""
    last = steps[-1]
    if len(steps) == 1 or not last:
        return [x[None] for x in last]
    steps = [[x.to(new.device) for x, new in zip(step, last, strict=True)] for step in steps]  # of a checkpoint
    if len({(x.shape, x.dtype) for x in last}) > 1:
        return [torch.stack(each) for each in zip(*steps, strict=True)]
    whole = torch.stack([x for step in steps for x in step])  # (n V, B, D)
    return list(whole.unflatten(0, (len(steps), len(last))).transpose(0, 1))


def _defer(z: Sequence[Tensor], members: Sequence[str]) -> Deferred:
    return defer_members(z, members) if members else defer_embeddings(z)
