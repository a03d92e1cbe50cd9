"""The collapse guard: judges a run by its embeddings, compared with the run's own start, and never by the loss.

It takes the metrics of `embedding_metrics` every few steps, of the projection z and of the encoder's output h, and
judges their means over the last few checks, because a single batch is noisy and healthy runs dip in their first steps.
The rules are in `ssl_zoo.collapse.rules`; each knows one kind of collapse.

A low value alone is no collapse where the run started with it: networks without normalisation start with a small
spread, and an untrained network has no similarity gap. So each rule also asks for a fall from the start; only a spread
near 0 that does not grow counts by itself. A run that starts from collapsed weights which still have some spread is
therefore not detected. Embeddings that are not finite raise the alarm at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ssl_zoo.collapse.causes import PULL, cause_of, terms_of
from ssl_zoo.collapse.metrics import RANK_ROWS
from ssl_zoo.collapse.remedies import remedies
from ssl_zoo.collapse.rules import GROWN, STD_LOW, judge, not_finite
from ssl_zoo.collapse.seen import Finding, H, Seen

Policy = Literal["warn", "stop", "rollback", "off"]

HOLD = 2.0
"""A detected collapse holds until all limits are exceeded by this factor, so that noise does not end it."""

FEW_CHECKS = 2
"""The fewest checks after the start by which a run is judged at its end."""

CHECKS = 50
"""The fewest checks of a run that has so many steps: a collapse is to be found before the run is spent in it."""


def check_every(every: int, patience: int, total_steps: int) -> int:
    """Return the number of steps between checks: `every`, or fewer in a short run, so that it has 50 checks.

    With a patience above 4 it has more: the checks of one judgement are 8 % of a run, or less.
    """
    return max(1, min(every, total_steps // max(CHECKS, CHECKS * patience // 4)))


@dataclass(frozen=True)
class Alarm:
    """The verdict that the guard returns once, when it detects a collapse.

    Attributes:
        kind: of collapse, see `ssl_zoo.collapse.seen`.
        of: `z`, the projection, or `h`, the encoder's output, which is what is kept.
        metric: the metric that shows it; of h it begins with `h.`.
        value: its mean over the last checks.
        reference: the value that it is compared with: the run's own start (1, isotropic, for a spread near 0 from the
            start).
        step: the optimizer step.
        since: the step of the check that showed it first.
        message: what was seen since when, and what it means for the encoder, in one sentence.
        cause: which part of the recipe likely causes it, in one sentence.
        remedies: three things to do, the likeliest first.
    """

    kind: str
    of: str
    metric: str
    value: float
    reference: float
    step: int
    since: int
    message: str
    cause: str
    remedies: tuple[str, str, str]


class CollapseGuard:
    """Watches the label-free metrics of a run and returns one alarm, with three remedies, when the embeddings collapse.

    Pure bookkeeping of numbers: deterministic, and resumable by `state_dict`. The rule of a missing metric is skipped.

    Args:
        policy: `warn`, `stop` and `rollback` judge alike, the caller acts; `off` judges nothing.
        patience: number of consecutive checks that the metrics are averaged over; the start does not count.
        shrinks: whether embeddings that shrink to one point solve the objective, see `Objective.shrinks`; only then is
            their scale judged.
        given: whether the run was given first weights, which are not to get worse.
        recipe_facts: values of the recipe that cause and remedies refer to, see `remedies`.

    Raises:
        ValueError: an unknown policy, or a patience below 1.
    """

    def __init__(
        self,
        *,
        policy: Policy = "warn",
        patience: int = 4,
        shrinks: bool = False,
        given: bool = False,
        recipe_facts: Mapping[str, Any] | None = None,
    ):
        if policy not in ("warn", "stop", "rollback", "off") or patience < 1:
            raise ValueError(
                f"policy is warn, stop, rollback or off and patience at least 1, not {policy!r} and {patience}"
            )
        self.policy, self.patience, self.shrinks, self.given = policy, patience, shrinks, given
        self.recipe_facts = dict(recipe_facts or {})
        self._spreads = any(
            term["name"] not in PULL and term.get("weight", 1.0) for term in terms_of(self.recipe_facts)
        )
        self._start: dict[str, float] = {}
        self._recent: list[dict[str, float]] = []
        self._signs: dict[str, int] = {}
        self._alarm: Alarm | None = None
        self._holds = False
        self._judged = False

    def update(
        self,
        step: int,
        metrics: Mapping[str, float],
        dim: int,
        batch: int,
        *,
        last: bool = False,
        progress: float | None = None,
    ) -> Alarm | None:
        """Add one measurement; return an alarm if it shows a collapse, for the first time only.

        The first measurement is the run's start: make it before the first optimizer step.

        Args:
            step: number of optimizer steps done.
            metrics: of `embedding_metrics`, and of `token_metrics` where there are tokens.
            dim: width of z.
            batch: samples that the metrics were computed from.
            last: whether the run ends here: two checks after the start are then enough.
            progress: part of the run that is done, in [0, 1]; None skips the rules that depend on it.
        """
        if self.policy == "off" or not metrics:
            return None
        finding = not_finite(metrics)
        if finding is None and not self._start:
            self._start = dict(metrics)
            return None
        self._recent = [*self._recent, dict(metrics)][-2 * self.patience :]
        limit = min(dim, min(batch, RANK_ROWS) - 1)
        self._note_signs(step, limit, progress)
        if finding is None:
            if len(self._recent) < (min(FEW_CHECKS, self.patience) if last else self.patience):
                return None
            finding = self._judge(limit, HOLD if self._holds else 1.0, progress)
        self._judged = True
        self._holds = finding is not None
        if finding is None or self._alarm is not None:
            return None
        self._alarm = self._alarm_of(finding, step, dim, batch)
        return self._alarm

    @property
    def healthy(self) -> bool:
        """Whether the last check has shown no sign of a collapse."""
        return not self._signs and not self._holds

    def _note_signs(self, step: int, limit: int, progress: float | None) -> None:
        """Note since when each metric shows a collapse, without a break."""
        seen = self._seen(self._recent[-1], limit, progress)
        found = {} if not_finite(self._recent[-1]) else {finding.metric: step for finding in judge(seen)}
        self._signs = {metric: self._signs.get(metric, now) for metric, now in found.items()}

    def _seen(self, mean: Mapping[str, float], limit: int, progress: float | None) -> Seen:
        return Seen(mean, self._start, limit, progress=progress, shrinks=self.shrinks, given=self.given,
                    spreads=self._spreads)  # fmt: skip

    def _judge(self, limit: int, ease: float, progress: float | None) -> Finding | None:
        recent = self._recent[-self.patience :]
        for metrics in recent:
            if (broken := not_finite(metrics)) is not None:
                return broken
        keys = set.intersection(*(set(metrics) for metrics in recent))
        mean = {key: sum(metrics[key] for metrics in recent) / len(recent) for key in keys}
        # The largest, the first steps included, since weights that a huge rate throws far away may shrink again.
        largest = max(metrics.get("weight_norm", 0.0) for metrics in [self._start, *recent])
        mean |= {"weight_norm": largest} if largest >= GROWN else {}
        seen = replace(self._seen(mean, limit, progress), ease=ease)
        if len(recent) == self.patience:
            std = [metrics.get("std", 1.0) for metrics in self._recent]
            growth = std[-1] / max(std[-self.patience], 1e-12)
            lasting = len(std) == 2 * self.patience and max(std) < STD_LOW
            seen = replace(seen, growth=growth, lasting=lasting)
        return next(judge(seen), None)

    def _alarm_of(self, finding: Finding, step: int, dim: int, batch: int) -> Alarm:
        facts = {"dim": dim, "batch_size": batch, **self.recipe_facts}
        latest = self._recent[-1]
        since = min(self._signs.get(finding.metric, step), step)
        begun = f" (first seen at step {since})" if since < step else ""
        message = f"step {step}: {finding.text}{begun}{self._meaning(finding)}."
        cause = cause_of(finding.kind, latest, facts)
        advice = remedies(finding.metric.removeprefix("h."), facts, cause)
        return Alarm(finding.kind, finding.of, finding.metric, finding.value, finding.reference, step, since, message,
                     cause.text, advice)  # fmt: skip

    def _meaning(self, finding: Finding) -> str:
        """Return what the finding means for the encoder, which is what is kept."""
        if finding.of == H or "h.std" not in self._recent[-1] or finding.kind in ("non-finite", "apart"):
            return ""
        if any(metric.startswith("h.") for metric in self._signs):
            return "; the encoder's output, which is what is kept, has collapsed too"
        now, start = self._recent[-1]["h.effective_rank"], self._start.get("h.effective_rank", 0.0)
        return (
            f"; the encoder's output, which is what is kept, has not collapsed yet (effective rank {now:.3g}, at the "
            f"start {start:.3g}), but what trains it says nothing any more"
        )

    @property
    def status(self) -> dict[str, Any]:
        """The state for `summary.json`: `status`, `reason`, `step`, `kind`, `of`, `since`, `cause`, latest `metrics`.

        `status` is `ok`; `collapsed`: an alarm that still holds or, unless the policy is `warn`, has ended the run;
        `warned`: an alarm and a recovery; `not judged`: too few checks; or `off`.
        """
        status, reason, alarm = "off" if self.policy == "off" else "ok", None, self._alarm
        if alarm is not None:
            status = "collapsed" if self._holds or self.policy in ("stop", "rollback") else "warned"
            reason = alarm.message
        elif not self._judged and status != "off":
            status, reason = "not judged", self._reason_not_judged()
        return {
            "status": status,
            "reason": reason,
            **{key: getattr(alarm, key, None) for key in ("step", "kind", "of", "since", "cause")},
            "remedies": list(alarm.remedies) if alarm else [],
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
            "start": self._start, "recent": self._recent, "signs": self._signs, "alarm": alarm, "holds": self._holds,
            "judged": self._judged, "given": self.given,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        self._start, self._recent = dict(state["start"]), [dict(metrics) for metrics in state["recent"]]
        alarm, self._holds, self._signs = state["alarm"], state["holds"], dict(state["signs"])
        self._alarm = None if alarm is None else Alarm(**{**alarm, "remedies": tuple(alarm["remedies"])})
        self._judged, self.given = state["judged"], state["given"]
