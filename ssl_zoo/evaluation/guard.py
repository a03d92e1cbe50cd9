"""The collapse guard: judges a run by the embeddings, against the run's own start, and never by the loss.

It is fed the metrics of `label_free.health` every few steps and looks at their means over the last few checks, because
a single batch is noisy and healthy runs dip in their first steps. Three rules, each with its own blind spot:

- `std`, complete collapse: all embeddings point the same way (Chen & He 2021, section 4.1).
- `effective_rank`, dimensional collapse: the embeddings lie on a few lines, which `std` cannot see.
- `similarity_gap`, views tell nothing: random pairs have become as similar as two views of one sample. A projector that
  ends in BatchNorm collapses like this, a few samples apart and all others together, its `std` far from 0.

A low value alone is no collapse where the run started with it: networks without normalisation start with a small
spread, and an untrained network has no similarity gap. So each rule asks for a fall from the start too; only a spread
of practically nothing that does not grow counts by itself. A run that starts from collapsed weights which still have
some spread is therefore not found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ssl_zoo.evaluation.remedies import remedies

STD_LOW, STD_FALL = 0.15, 0.5
"""Complete collapse: below 0.15 of the isotropic spread (a mean cosine of about 0.98) and below half of the start's."""

STD_DEAD, STD_GROWTH = 0.02, 1.5
"""Dead from the start: below 0.02, and not growing by half from the first to the last of the checks."""

RANK_LOW, RANK_FALL = 5.0, 0.1
"""Dimensional collapse: fewer than 5 effective dimensions and less than a tenth of the start's."""

SIMILARITY_HIGH, SPREAD_FALL, GAP_LOW = 0.5, 0.5, 0.1
"""Views tell nothing: random pairs have a cosine above 0.5, their distance 1 - cosine is below half of the start's, and
the gap to positive pairs is below a tenth of that distance."""

HOLD = 2.0
"""A collapse that was found holds until all limits are passed by this factor, so that noise does not end it."""


@dataclass(frozen=True)
class Alarm:
    """What the guard says once, when it finds a collapse.

    Attributes:
        metric: which metric gave it away.
        value: its mean over the last checks.
        reference: what it is compared with, the run's own start (1, isotropic, for a spread dead from the start).
        step: the optimizer step.
        message: one sentence.
        remedies: three things to do, the likeliest first.
    """

    metric: str
    value: float
    reference: float
    step: int
    message: str
    remedies: tuple[str, str, str]


Finding = tuple[str, float, float, str]  # metric, value, reference, message


def _judge_std(mean: Mapping[str, float], start: Mapping[str, float], growth: float, ease: float) -> Finding | None:
    std, first = mean.get("std", math.inf), start.get("std", 0.0)
    if std < ease * STD_LOW and std < ease * STD_FALL * first:
        fall = f"their spread fell from {first:.2f} to {std:.3f} (isotropic is 1)"
        text = f"the embeddings have collapsed to almost one point, {fall}"
        return "std", std, first, text
    if std < ease * STD_DEAD and growth < STD_GROWTH:
        text = f"the embeddings are almost one point and stay so, their spread is {std:.4f} (isotropic is 1)"
        return "std", std, 1.0, text
    return None


def _judge_rank(mean: Mapping[str, float], start: Mapping[str, float], limit: int, ease: float) -> Finding | None:
    rank, first = mean.get("effective_rank", math.inf), start.get("effective_rank", 0.0)
    if not (rank < ease * RANK_LOW and rank < ease * RANK_FALL * first):
        return None
    text = (
        f"the embeddings have collapsed onto few dimensions, their effective rank fell from {first:.0f} to {rank:.1f} "
        f"(this width and batch allow {limit})"
    )
    return "effective_rank", rank, first, text


def _judge_similarity(mean: Mapping[str, float], start: Mapping[str, float], ease: float) -> Finding | None:
    if "similarity_gap" not in mean or "random_similarity" not in start:
        return None
    gap, similarity = mean["similarity_gap"], mean["random_similarity"]
    apart, first = 1 - similarity, 1 - start["random_similarity"]
    if similarity < SIMILARITY_HIGH / ease or apart > ease * SPREAD_FALL * first or gap > ease * GAP_LOW * apart:
        return None
    text = (
        f"views of different samples are as similar as views of the same one, cosine {similarity:.2f} against "
        f"{similarity + gap:.2f}, at the start {start['random_similarity']:.2f}"
    )
    return "similarity_gap", gap, start.get("similarity_gap", 0.0), text


class CollapseGuard:
    """Watches the label-free metrics of a run and says once when the embeddings collapse, with three remedies.

    It is pure bookkeeping of numbers: deterministic, and resumable by `state_dict`. Metrics that are missing or not
    finite are left out of its judgement.

    Args:
        policy: `warn` and `stop` judge alike, what a stop means is the caller's business; `off` judges nothing.
        patience: over how many checks in a row the metrics are averaged before anything is judged; the start does not
            count.
        facts: what the remedies may refer to, see `remedies`.
    """

    def __init__(
        self,
        *,
        policy: Literal["warn", "stop", "off"] = "warn",
        patience: int = 4,
        facts: Mapping[str, Any] | None = None,
    ):
        if policy not in ("warn", "stop", "off") or patience < 1:
            raise ValueError(f"policy is warn, stop or off and patience at least 1, not {policy!r} and {patience}")
        self.policy, self.patience, self.facts = policy, patience, dict(facts or {})
        self._start: dict[str, float] = {}
        self._recent: list[dict[str, float]] = []
        self._alarm: Alarm | None = None
        self._holds = False

    def update(self, step: int, metrics: Mapping[str, float], dim: int, batch: int) -> Alarm | None:
        """Take in one measurement and return an alarm if it completes the case for a collapse, the first time only.

        The first measurement is the run's start: make it before the first optimizer step.

        Args:
            step: number of optimizer steps done.
            metrics: what `label_free.health` returns.
            dim: width of z.
            batch: samples that the metrics were computed from.
        """
        metrics = {key: value for key, value in metrics.items() if math.isfinite(value)}
        if self.policy == "off" or not metrics:
            return None
        if not self._start:
            self._start = metrics
            return None
        self._recent = [*self._recent, metrics][-self.patience :]
        if len(self._recent) < self.patience:
            return None
        finding = self._judge(min(dim, batch - 1), HOLD if self._holds else 1.0)
        self._holds = finding is not None
        if finding is None or self._alarm is not None:
            return None
        metric, value, reference, text = finding
        advice = remedies(metric, {"dim": dim, "batch_size": batch, **self.facts})
        self._alarm = Alarm(metric, value, reference, step, f"step {step}: {text}.", advice)
        return self._alarm

    def _judge(self, limit: int, ease: float) -> Finding | None:
        keys = set.intersection(*(set(metrics) for metrics in self._recent))
        mean = {key: sum(metrics[key] for metrics in self._recent) / self.patience for key in keys}
        growth = self._recent[-1].get("std", 1.0) / max(self._recent[0].get("std", 1.0), 1e-12)
        return (
            _judge_std(mean, self._start, growth, ease)
            or _judge_rank(mean, self._start, limit, ease)
            or _judge_similarity(mean, self._start, ease)
        )

    @property
    def status(self) -> dict[str, Any]:
        """How the run stands, for its summary.

        `status` is `ok`; `collapsed` while the collapse holds, or once a run under `stop` had an alarm; `warned` if
        there was an alarm and the embeddings have recovered; or `off`. `reason` and `step` are the alarm's, `metrics`
        the latest.
        """
        status = "off" if self.policy == "off" else "ok"
        if self._alarm is not None:
            status = "collapsed" if self._holds or self.policy == "stop" else "warned"
        return {
            "status": status,
            "reason": self._alarm.message if self._alarm else None,
            "step": self._alarm.step if self._alarm else None,
            "metrics": dict(self._recent[-1] if self._recent else self._start),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what the next judgement depends on, as plain data that JSON can hold."""
        alarm = None if self._alarm is None else {**asdict(self._alarm), "remedies": list(self._alarm.remedies)}
        return {"start": self._start, "recent": self._recent, "alarm": alarm, "holds": self._holds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self._start, self._recent = dict(state["start"]), [dict(metrics) for metrics in state["recent"]]
        alarm, self._holds = state["alarm"], state["holds"]
        self._alarm = None if alarm is None else Alarm(**{**alarm, "remedies": tuple(alarm["remedies"])})
