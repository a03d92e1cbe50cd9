"""Paired differences: each setting against the first one, seed by seed, with Student's interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.table import Table, columns, is_share, title

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Paired:
    """A difference between two settings over the seeds that both have.

    Attributes:
        name: of the setting.
        reference: of the one that it is compared with.
        protocol: of the metric.
        metric: what differs.
        mean: of `value - value of the reference` over the seeds.
        low: the lower end of the interval at 95 %; None for one seed.
        high: the upper end.
        n: the number of seeds.
    """

    name: str
    reference: str
    protocol: str
    metric: str
    mean: float
    low: float | None
    high: float | None
    n: int

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)


def interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return Student's interval of the mean of differences (Student 1908): mean +- t * s / sqrt(n).

    It takes the differences as independent draws from a normal distribution. s is their sample standard deviation, t
    the quantile of Student's distribution with n - 1 degrees of freedom.

    Args:
        differences: n of them.
        confidence: in (0, 1).

    Returns:
        The two ends; None for fewer than two.
    """
    n = len(differences)
    if n < 2:
        return None
    from scipy.stats import t

    mean = statistics.fmean(differences)
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return mean - half, mean + half


def paired_differences(groups: Sequence[Group]) -> list[Paired]:
    """Return the differences of each group after the first from the first, in each metric that both have.

    Runs are paired by their seed; a seed that one of the two lacks a value of is left out. Choices (`k`) and what
    chance would give are no results. Where shares were measured (accuracies, recalls), they alone are compared: spread
    and rank do not say which of two methods is better.
    """
    if len(groups) < 2:
        return []
    first, *others = groups
    return [
        found
        for other in others
        for protocol, metric in _metrics(groups)
        if (found := _paired(first, other, protocol, metric)) is not None
    ]


def _metrics(groups: Sequence[Group]) -> list[tuple[str, str]]:
    found = [column for column in columns([each for group in groups for each in group.results()]) if column[1] != "k"]
    return [column for column in found if is_share(column[1])] or found


def _paired(first: Group, other: Group, protocol: str, metric: str) -> Paired | None:
    ours, theirs = (_by_seed(group, protocol, metric) for group in (other, first))
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences:
        return None
    low, high = interval(differences) or (None, None)
    mean = statistics.fmean(differences)
    return Paired(other.name, first.name, protocol, metric, mean, low, high, len(differences))


def _by_seed(group: Group, protocol: str, metric: str) -> dict[Any, float]:
    """Return {seed: value}, of the runs that have a finite one."""
    found = {}
    for summary in group.summaries:
        values: Mapping[str, Any] = (summary.get("metrics") or {}).get(protocol) or {}
        value = values.get(metric)
        if value is not None and math.isfinite(value):
            found[summary.get("seed")] = value
    return found


def paired_table(differences: Sequence[Paired]) -> Table:
    """Return a table of differences: one row per setting, one column per metric."""
    shown = list(dict.fromkeys((each.protocol, each.metric) for each in differences))
    rows = []
    for name in dict.fromkeys(each.name for each in differences):
        own = {(each.protocol, each.metric): each for each in differences if each.name == name}
        counts = sorted({each.n for each in own.values()})
        rows.append([name, *(_cell(own.get(column)) for column in shown), " to ".join(map(str, counts))])
    return Table(["difference", *map(title, shown), "n"], rows)


def _cell(each: Paired | None) -> str:
    if each is None:
        return "-"
    scale, digits = (100, 1) if is_share(each.metric) else (1, 2)

    def shown(value: float) -> str:
        return f"{scale * value:+.{digits}f}"

    ends = "" if each.low is None or each.high is None else f" ({shown(each.low)} to {shown(each.high)})"
    return shown(each.mean) + ends
