"""How metrics without labels rank encoders, against their accuracy: rank correlations with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from experiments.label_free.points import BETTER, Point, by, table

PROBES = ("knn", "linear")
DRAWS = 300


def interval(values: Sequence[Any], statistic: Callable[[Any], Any]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic of values that are drawn anew as they are, such as runs."""
    source, found = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = [values[i] for i in source.integers(len(values), size=len(values))]
        value = float(statistic(drawn))
        if math.isfinite(value):
            found.append(value)
    return (float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))) if found else (math.nan, math.nan)


def correlation(some: Sequence[Point], metric: str, probe: str, rank: Any = spearmanr) -> float:
    """Return the rank correlation of a metric, signed so that better is higher, with the accuracy of a probe."""
    pairs = [(p.now.get(metric), p.now.get(probe)) for p in some]
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    if len({x for x, _ in known}) < 3 or len({y for _, y in known}) < 2:
        return math.nan
    return BETTER[metric] * float(rank(*zip(*known, strict=True)).statistic)


def mean_correlation(groups: Sequence[Sequence[Point]], metric: str, probe: str, rank: Any = spearmanr) -> str:
    """Return the mean rank correlation over the groups that have one, with its interval over groups."""
    found = [value for each in groups if math.isfinite(value := correlation(each, metric, probe, rank))]
    return shown(float(np.mean(found)), interval(found, np.mean)) if found else "-"


def shown(value: float, ends: tuple[float, float]) -> str:
    """Return `0.61 (0.32 to 0.80)`."""
    return "-" if math.isnan(value) else f"{value:.2f} ({ends[0]:.2f} to {ends[1]:.2f})"


def with_fisher(value: float, num: int) -> str:
    """Return a Spearman correlation of `num` values with its interval: Fisher's z, error 1.03 / sqrt(n - 3)."""
    if math.isnan(value) or num < 4:
        return "-"
    middle, half = math.atanh(max(-0.999, min(0.999, value))), 1.96 * 1.03 / math.sqrt(num - 3)
    return shown(value, (math.tanh(middle - half), math.tanh(middle + half)))


def correlations(all_points: Sequence[Point]) -> str:
    """Return the table of rank correlations."""
    last = [point for point in all_points if point.last]
    methods = by(last, "group")
    runs = [_with_start(each) for each in by(all_points, "run")]
    rows = []
    for metric in BETTER:
        row = [f"`{metric}`", *(mean_correlation(methods, metric, probe) for probe in PROBES)]
        row += [mean_correlation(runs, metric, probe, kendalltau) for probe in PROBES]
        for data in sorted({point.data for point in last}):
            own = [point for point in last if point.data == data]
            row.append(with_fisher(correlation(own, metric, "linear"), len(own)))
        rows.append(row)
    names = [f"all runs of {data}, linear" for data in sorted({point.data for point in last})]
    header = ["metric", "settings, kNN", "settings, linear", "checkpoints, kNN", "checkpoints, linear", *names]
    return table(header, rows)


def _with_start(run: Sequence[Point]) -> list[Point]:
    """Return the points of a run with that of step 0 before them."""
    first = run[0]
    return [Point(first.run, first.group, first.data, 0, False, first.start, first.start, first.raw), *run]
