"""The collapse guard: judges a run by its embeddings, compared with the run's own start, and never by the loss.

It takes `embedding_metrics` every few steps and judges their means over the last few checks, because a single batch is
noisy and healthy runs dip in their first steps. Five rules, each with its own blind spot:

- `std`, complete collapse: all embeddings point the same way (Chen & He 2021, section 4.1).
- `scale`, loss of scale: the embeddings shrink to one point and keep their directions, which no other rule detects. A
  collapse only where that solves the objective (VICReg without its variance term): where the loss depends on directions
  alone, the length of z is free and drifts in healthy runs.
- `effective_rank`, dimensional collapse: the embeddings lie on a few lines, which `std` does not detect.
- `similarity_gap`, uninformative views: random pairs have become as similar as two views of one sample. A projector
  that ends in BatchNorm collapses like this, a few samples apart and all others together, its `std` far from 0.
- `token_std` and `sample_std`, token collapse: all tokens of a sample are the same, though samples differ; or they
  depend on their place alone. For methods that predict tokens.

A low value alone is no collapse where the run started with it: networks without normalisation start with a small
spread, and an untrained network has no similarity gap. So each rule also asks for a fall from the start; only a spread
near 0 that does not grow counts by itself. A run that starts from collapsed weights which still have some spread is
therefore not detected. Embeddings that are not finite raise the alarm at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ssl_zoo.collapse.metrics import RANK_ROWS
from ssl_zoo.collapse.remedies import remedies

STD_LOW, STD_FALL = 0.15, 0.5
"""Complete collapse: below 0.15 of the isotropic spread (a mean cosine of about 0.98) and half of the start's."""

STD_DEAD, STD_GROWTH = 0.02, 1.5
"""Dead from the start: below 0.02, and not growing by half from the first to the last of the checks."""

SCALE_LOW, SCALE_FALL = 0.1, 0.1
"""Loss of scale: below 0.1 in the units of z (VICReg keeps each dimension at 1) and a tenth of the start's."""

RANK_LOW, RANK_FALL = 5.0, 0.1
"""Dimensional collapse: fewer than 5 effective dimensions and less than a tenth of the start's."""

ENTROPY_LOW, ENTROPY_FALL = 0.15, 0.25
"""The same for narrow projectors and small batches, where a tenth of the start is less than one dimension: the entropy
of the singular values, log(rank), is below 0.15 of what width and batch allow and below a quarter of the start's."""

SIMILARITY_HIGH, SPREAD_FALL, GAP_LOW = 0.5, 0.5, 0.1
"""Uninformative views: random pairs have a cosine above 0.5, their distance 1 - cosine is below half of the start's,
and the gap to positive pairs is below a tenth of that distance."""

TOKENS_LOW, TOKENS_FALL = 0.2, 0.4
"""Token collapse: below 0.2 of the isotropic spread, over places or over samples, and 0.4 of the start's."""

HOLD = 2.0
"""A detected collapse holds until all limits are exceeded by this factor, so that noise does not end it."""

FEW_CHECKS = 2
"""The fewest checks after the start by which a run is judged at its end."""


def check_every(every: int, patience: int, total_steps: int) -> int:
    """Return the number of steps between checks: `every`, or fewer, so that half of a short run has `patience` checks.

    Runs of 2 * patience * every steps and more keep `every`; a shorter one might end before it is judged.
    """
    return max(1, min(every, total_steps // (2 * patience)))


@dataclass(frozen=True)
class Alarm:
    """The verdict that the guard returns once, when it detects a collapse.

    Attributes:
        metric: the metric that shows it.
        value: its mean over the last checks.
        reference: the value that it is compared with: the run's own start (1, isotropic, for a spread near 0 from the
            start).
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


def _judge_scale(mean: Mapping[str, float], start: Mapping[str, float], ease: float) -> Finding | None:
    value, first = mean.get("scale", math.inf), start.get("scale", 0.0)
    if not (value < ease * SCALE_LOW and value < ease * SCALE_FALL * first):
        return None
    text = (
        f"the embeddings have shrunk to almost one point, which solves this objective: their scale, the standard "
        f"deviation of a dimension, fell from {first:.2g} to {value:.2g}"
    )
    return "scale", value, first, text


def _judge_rank(mean: Mapping[str, float], start: Mapping[str, float], limit: int, ease: float) -> Finding | None:
    rank, first = mean.get("effective_rank", math.inf), start.get("effective_rank", 0.0)
    few = rank < ease * RANK_LOW and rank < ease * RANK_FALL * first
    if not few and limit > 1 and first > 1:
        entropy = math.log(max(rank, 1.0))
        few = entropy < ease * ENTROPY_LOW * math.log(limit) and entropy < ease * ENTROPY_FALL * math.log(first)
    if not few:
        return None
    text = (
        f"the embeddings have collapsed onto few dimensions, their effective rank fell from {first:.3g} to {rank:.1f} "
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


_TOKENS = {
    "token_std": "the tokens of a sample have become almost the same, their spread over its places",
    "sample_std": "tokens depend on little but their place, their spread over the samples",
}


def _judge_tokens(mean: Mapping[str, float], start: Mapping[str, float], ease: float) -> Finding | None:
    for metric, text in _TOKENS.items():
        value, first = mean.get(metric, math.inf), start.get(metric, 0.0)
        if value < ease * TOKENS_LOW and value < ease * TOKENS_FALL * first:
            return metric, value, first, f"{text} fell from {first:.2f} to {value:.3f} (isotropic is 1)"
    return None


def _judge_finite(metrics: Mapping[str, float]) -> Finding | None:
    finite = all(map(math.isfinite, metrics.values()))
    share = metrics.get("finite", 1.0 if finite else 0.0)
    if finite and share == 1:
        return None
    return "finite", share, 1.0, f"the embeddings of {1 - share:.3g} of the samples are not finite (nan or infinity)"


class CollapseGuard:
    """Watches the label-free metrics of a run and returns one alarm, with three remedies, when the embeddings collapse.

    Pure bookkeeping of numbers: deterministic, and resumable by `state_dict`. The rule of a missing metric is skipped.

    Args:
        policy: `warn` and `stop` judge alike, the caller does the stopping; `off` judges nothing.
        patience: number of consecutive checks that the metrics are averaged over; the start does not count.
        shrinks: whether embeddings that shrink to one point solve the objective, see `Objective.shrinks`; only then is
            their scale judged.
        recipe_facts: values of the recipe that the remedies refer to, see `remedies`.

    Raises:
        ValueError: an unknown policy, or a patience below 1.
    """

    def __init__(
        self,
        *,
        policy: Literal["warn", "stop", "off"] = "warn",
        patience: int = 4,
        shrinks: bool = False,
        recipe_facts: Mapping[str, Any] | None = None,
    ):
        if policy not in ("warn", "stop", "off") or patience < 1:
            raise ValueError(f"policy is warn, stop or off and patience at least 1, not {policy!r} and {patience}")
        self.policy, self.patience, self.shrinks = policy, patience, shrinks
        self.recipe_facts = dict(recipe_facts or {})
        self._start: dict[str, float] = {}
        self._recent: list[dict[str, float]] = []
        self._alarm: Alarm | None = None
        self._holds = False
        self._judged = False

    def update(
        self, step: int, metrics: Mapping[str, float], dim: int, batch: int, *, last: bool = False
    ) -> Alarm | None:
        """Add one measurement; return an alarm if it shows a collapse, for the first time only.

        The first measurement is the run's start: make it before the first optimizer step.

        Args:
            step: number of optimizer steps done.
            metrics: of `embedding_metrics`, and of `token_metrics` where there are tokens.
            dim: width of z.
            batch: samples that the metrics were computed from.
            last: whether the run ends here: two checks after the start are then enough.
        """
        if self.policy == "off" or not metrics:
            return None
        finding = _judge_finite(metrics)
        if finding is None and not self._start:
            self._start = dict(metrics)
            return None
        self._recent = [*self._recent, dict(metrics)][-self.patience :]
        if finding is None:
            if len(self._recent) < (min(FEW_CHECKS, self.patience) if last else self.patience):
                return None
            limit = min(dim, min(batch, RANK_ROWS) - 1)
            finding = self._judge(limit, HOLD if self._holds else 1.0)
        self._judged = True
        self._holds = finding is not None
        if finding is None or self._alarm is not None:
            return None
        metric, value, reference, text = finding
        advice = remedies(metric, {"dim": dim, "batch_size": batch, **self.recipe_facts})
        self._alarm = Alarm(metric, value, reference, step, f"step {step}: {text}.", advice)
        return self._alarm

    def _judge(self, limit: int, ease: float) -> Finding | None:
        for metrics in self._recent:
            if (broken := _judge_finite(metrics)) is not None:
                return broken
        num = len(self._recent)
        keys = set.intersection(*(set(metrics) for metrics in self._recent))
        mean = {key: sum(metrics[key] for metrics in self._recent) / num for key in keys}
        growth = self._recent[-1].get("std", 1.0) / max(self._recent[0].get("std", 1.0), 1e-12)
        return (
            _judge_std(mean, self._start, growth if num == self.patience else math.inf, ease)
            or (_judge_scale(mean, self._start, ease) if self.shrinks else None)
            or _judge_rank(mean, self._start, limit, ease)
            or _judge_similarity(mean, self._start, ease)
            or _judge_tokens(mean, self._start, ease)
        )

    @property
    def status(self) -> dict[str, Any]:
        """The state of the run, for its summary.

        `status` is

        - `ok`: judged, and no alarm so far;
        - `collapsed`: an alarm, and the collapse holds (or the run was stopped by it, under `stop`);
        - `warned`: an alarm, and the embeddings have recovered;
        - `not judged`: too few checks so far, or none with two samples; `reason` has the details;
        - `off`: the policy is `off`.

        `reason` and `step` are the alarm's, `metrics` the latest.
        """
        status, reason = ("off", None) if self.policy == "off" else ("ok", None)
        if self._alarm is not None:
            status = "collapsed" if self._holds or self.policy == "stop" else "warned"
            reason = self._alarm.message
        elif not self._judged and status != "off":
            status, reason = "not judged", self._reason_not_judged()
        return {
            "status": status,
            "reason": reason,
            "step": self._alarm.step if self._alarm else None,
            "metrics": dict(self._recent[-1] if self._recent else self._start),
        }

    def _reason_not_judged(self) -> str:
        if not self._start:
            return "no judgement of collapse: no embeddings of two samples or more were seen"
        few, num = min(FEW_CHECKS, self.patience), len(self._recent)
        seen = f"{num} check{'s' if num != 1 else ''} after the start"
        return f"too short to judge a collapse: {seen}, needed are {self.patience}, or {few} by the end of the run"

    def state_dict(self) -> dict[str, Any]:
        """Return the state that the next judgement depends on, as plain JSON values."""
        alarm = None if self._alarm is None else {**asdict(self._alarm), "remedies": list(self._alarm.remedies)}
        return {
            "start": self._start, "recent": self._recent, "alarm": alarm, "holds": self._holds, "judged": self._judged
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        self._start, self._recent = dict(state["start"]), [dict(metrics) for metrics in state["recent"]]
        alarm, self._holds = state["alarm"], state["holds"]
        self._alarm = None if alarm is None else Alarm(**{**alarm, "remedies": tuple(alarm["remedies"])})
        self._judged = state.get("judged", len(self._recent) >= self.patience)
