"""The collapse guard of samples that are mappings: each member is judged by itself, since one may collapse alone.

Embeddings of different members are not pooled: they may lie in different regions, which looks like spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from torch import Tensor

from ssl_zoo.collapse.guard import Alarm, CollapseGuard
from ssl_zoo.collapse.metrics import PAIRS, Table, defer_of_one, steps
from ssl_zoo.collapse.moments import Moments, moments
from ssl_zoo.collapse.readback import Deferred, Values, read

_LARGE_IS_BAD = ("random_similarity",)
OF_THE_RUN = ("weight_norm", "weight_change")
"""Metrics that are not of a member."""

_WORST_FIRST = ("collapsed", "warned", "not judged", "ok", "off")


def metrics_of_members(z: Sequence[Tensor], members: Sequence[str]) -> Values:
    """Return the label-free metrics of one batch for each member, and the worst of each.

    Args:
        z: embeddings `(B, D)` of each view of the batch, in the same order of samples, or `(n, B, D)` of n steps.
        members: what each is of.

    Returns:
        `embedding_metrics` of each member's views, as `std.image`; under the plain name, `std`, the value of the member
        where it is worst. `positive_similarity` is that of two views of a member, or, where it has only one, of its
        view with those of the other members; `similarity_gap` is what it exceeds that of different samples by, and is
        added to the member's own `random_similarity`. `across` is the largest `agreement` of a member with another one,
        where they are of the same width. Empty for a batch of one sample.
    """
    return read(defer_members(z, members))


def defer_members(z: Sequence[Tensor], members: Sequence[str]) -> Deferred:
    """Compute what `metrics_of_members` needs from the device: members of one width in one pass."""
    z = [steps(x) for x in z]
    own = {member: [i for i, of in enumerate(members) if of == member] for member in dict.fromkeys(members)}
    if z[0].shape[1] < 2:
        return _defer_of_one({member: [z[i] for i in mine] for member, mine in own.items()})
    alike: dict[tuple[int, ...], list[str]] = {}
    for member, mine in own.items():
        alike.setdefault(tuple(z[mine[0]].shape), []).append(member)
    passes, tensors = [], list[Tensor]()
    for shape, names in alike.items():
        ends = list(accumulate((len(own[name]) for name in names), initial=0))
        views = {name: range(start, stop) for name, (start, stop) in zip(names, pairwise(ends), strict=True)}
        found = moments([z[i] for name in names for i in own[name]], list(views.values())).tensors
        passes.append((views, shape, len(found)))
        tensors += found

    def finish(got: list[Tensor]) -> Values:
        left, each = iter(got), dict[str, Values]()
        for views, shape, num in passes:
            each |= _of_each(Table(Moments(*(next(left) for _ in range(num))), shape), views)
        return _with_worst({member: each[member] for member in own})

    return Deferred(tensors, finish)


def _defer_of_one(own: dict[str, list[Tensor]]) -> Deferred:
    parts = {member: defer_of_one(mine) for member, mine in own.items()}

    def finish(got: list[Tensor]) -> Values:
        return _with_worst({member: part.finish([x]) for (member, part), x in zip(parts.items(), got, strict=True)})

    return Deferred([x for part in parts.values() for x in part.tensors], finish)


def _of_each(table: Table, views: dict[str, range]) -> dict[str, Values]:
    """Return the metrics of members of one width, from the numbers of their views."""
    each = {member: table.metrics(group, mine) for group, (member, mine) in enumerate(views.items())}
    for member, mine in views.items():
        others = [i for other, theirs in views.items() if other != member for i in theirs]
        if "std" not in each[member] or not others:
            continue
        random, positive, shared = (table.pairs[name][mine.start, others] for name in PAIRS)
        if len(mine) == 1:
            gap = (positive - random).mean().item()
            each[member]["positive_similarity"] = each[member]["random_similarity"] + gap
            each[member]["similarity_gap"] = gap
        if table.finite[others].all():
            each[member]["across"] = shared.max().item()
    return each


def _with_worst(each: dict[str, Values]) -> Values:
    worst = {}
    for name in dict.fromkeys(name for values in each.values() for name in values):
        found = [values[name] for values in each.values() if name in values]
        worst[name] = max(found) if name in _LARGE_IS_BAD else min(found)
    return worst | {f"{name}.{member}": value for member, values in each.items() for name, value in values.items()}


def guard_of(members: Sequence[str], **settings: Any) -> CollapseGuard | MemberGuards:
    """Return the guard of a run: of its members, if its samples are mappings.

    Args:
        members: their names, or none.
        **settings: of `CollapseGuard`.
    """
    return MemberGuards(members, **settings) if members else CollapseGuard(**settings)


class MemberGuards:
    """A `CollapseGuard` for each member, with the alarm of the first that finds a collapse.

    Args:
        members: their names.
        **settings: of each guard.
    """

    def __init__(self, members: Sequence[str], **settings: Any) -> None:
        self._guards = {member: CollapseGuard(**settings) for member in members}
        self._said = False
        self._metrics: dict[str, float] = {}

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

        Args:
            step: number of optimizer steps done.
            metrics: of `metrics_of_members`.
            dim: width of z.
            batch: samples that the metrics were computed from.
            last: whether the run ends here.
            progress: part of the run that is done, in [0, 1]; None skips the rules that depend on it.
        """
        found, self._metrics = None, dict(metrics)
        of_all = {name: value for name, value in metrics.items() if name in OF_THE_RUN}
        for member, guard in self._guards.items():
            own = {name.removesuffix(f".{member}"): v for name, v in metrics.items() if name.endswith(f".{member}")}
            own |= of_all if own else {}
            alarm = guard.update(step, own, dim, batch, last=last, progress=progress)
            if alarm is not None and found is None and not self._said:
                found = replace(alarm, message=_of(member, alarm.message))
        self._said = self._said or found is not None
        return found

    @property
    def healthy(self) -> bool:
        """Whether the last check has shown no sign of a collapse in any member."""
        return all(guard.healthy for guard in self._guards.values())

    @property
    def status(self) -> dict[str, Any]:
        """The state of the member that is worst, as `CollapseGuard.status`, its reason with the member's name.

        `metrics` are those of `metrics_of_members`.
        """
        each = {member: guard.status for member, guard in self._guards.items()}
        member = min(each, key=lambda name: _WORST_FIRST.index(each[name]["status"]))
        reason = each[member]["reason"]
        return {**each[member], "reason": None if reason is None else _of(member, reason), "metrics": self._metrics}

    def state_dict(self) -> dict[str, Any]:
        """Return the state that the next judgement depends on, as plain JSON values."""
        each = {member: guard.state_dict() for member, guard in self._guards.items()}
        return {"members": each, "said": self._said, "metrics": self._metrics}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`."""
        self._said, self._metrics = state["said"], dict(state["metrics"])
        for member, guard in self._guards.items():
            guard.load_state_dict(state["members"][member])


def _of(member: str, message: str) -> str:
    """Return a message about embeddings as one about those of a member."""
    return (
        message.replace("the embeddings", f"the embeddings of {member}", 1)
        if "the embeddings" in message
        else (f"{member}: {message}")
    )
