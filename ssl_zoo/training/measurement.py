"""What the collapse guard is given: statistics of the last steps, of the samples of all processes.

A small batch says little about spread and rank. So the embeddings of a few steps before each check are kept where they
are, on the device, and judged together at the check: nothing is computed and nobody waits in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.batch import StepOutput
from ssl_zoo.collapse.members import metrics_of_members
from ssl_zoo.collapse.metrics import cluster_metrics, embedding_metrics, numbers, token_metrics, token_moments
from ssl_zoo.distributed import collectives

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
        weights = [p for p in method.encoder.parameters() if p.ndim > 1 and p.requires_grad]
        self._weights = [] if _is_sharded(method.encoder) else weights
        self._first = self._sample()
        self._kept: list[list[Tensor]] = []

    def _sample(self) -> Tensor | None:
        few = [p.detach().flatten()[:: -(-p.numel() // FEW_WEIGHTS)].float() for p in self._weights]
        return torch.cat(few) if few else None

    def due(self, number: int) -> bool:
        """Return whether to measure after a step: every so many steps, at the start, and at the end."""
        return number % self.every == 0 or number in (1, self.num_steps, self.total_steps)

    def enough(self, number: int) -> bool:
        """Return whether a measurement may be judged: of small batches, not before there are enough samples."""
        return number >= self.num_steps or number == self.total_steps

    def after_step(self, number: int, output: StepOutput) -> None:
        """Keep the embeddings of a step if the next check is to see them."""
        if number <= self.num_steps or -number % self.every < self.num_steps or number == self.total_steps:
            both = [*output.embeddings, *output.features]
            self._kept.append([collectives.gather(x) for x in both])
            rows = sum(x.numel() for x in both) * collectives.num_processes()
            self._kept = self._kept[-max(1, min(self.num_steps, MOST_NUMBERS // rows)) :]

    def take(self, output: StepOutput) -> tuple[dict[str, float], int, int]:
        """Return the metrics of a check, the width of z, and the samples that they rest on.

        Args:
            output: of the step of the check.

        Returns:
            `embedding_metrics` of z and, with the prefix `h.`, of the encoder's output; `cluster_metrics`,
            `token_metrics` and `weight_metrics` where there is something to measure.
        """
        steps = self._kept or [[collectives.gather(x) for x in [*output.embeddings, *output.features]]]
        # the last step alone where shapes differ, as in a last batch of an epoch
        steps = [step for step in steps if [x.shape for x in step] == [x.shape for x in steps[-1]]]
        both = [torch.stack([x.to(each[-1].device) for x in each]) for each in zip(*steps, strict=True)]
        z, h = both[: len(output.embeddings)], both[len(output.embeddings) :]
        metrics = _metrics(z, output.members)
        if "std" in metrics or any(name.startswith("std.") for name in metrics):
            metrics |= {FEATURES + name: value for name, value in _metrics(h, output.members).items()} if h else {}
            if output.tokens is not None:
                moments = [token_moments(x) for x in output.tokens]
                metrics |= token_metrics([list(map(collectives.mean, each)) for each in moments])
            if self.temperature is not None and not output.members:
                metrics |= cluster_metrics(z, self.temperature)
        metrics |= self._weight_metrics()
        return metrics, z[0].shape[2], len(z[0]) * z[0].shape[1]

    @torch.no_grad()
    def _weight_metrics(self) -> dict[str, float]:
        now = self._sample()
        if now is None or self._first is None:
            return {}
        first = self._first.to(now.device)
        size = first.norm().clamp_min(torch.finfo(torch.float32).tiny)
        return numbers({"weight_norm": now.norm() / size, "weight_change": (now - first).norm() / size})

    def state(self) -> dict[str, Any]:
        """Return what the next check depends on: tensors. A checkpoint holds no numbers that are not finite."""
        kept = [step for step in self._kept if all(x.isfinite().all() for x in step)]
        return {"first": self._first, "kept": kept}

    def load(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""
        self._first, self._kept = state["first"], state["kept"]


def _metrics(z: Sequence[Tensor], members: Sequence[str]) -> dict[str, float]:
    return metrics_of_members(z, members) if members else embedding_metrics(z)


def _is_sharded(encoder: nn.Module) -> bool:
    """Return whether each process holds a part of each weight only."""
    return any(hasattr(p, "to_local") for p in encoder.parameters())
