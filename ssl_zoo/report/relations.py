"""Relations between variants: expectations that compare means over seeds, with the spread between seeds considered.

A relation is an expectation (`ssl_zoo.report.expectations`) in which a side names another variant of the experiment, at
the same scale, before a colon: `knn.top1 < base:knn.top1 - 0.1` says of a variant that its kNN accuracy is more than
0.1 below that of the base. Runs of equal seeds are compared, so that what a seed does to both does not count as spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssl_zoo.errors import UserError, suggest
from ssl_zoo.report.aggregate import Summary
from ssl_zoo.report.expectations import NotMeasured, parsed, value
from ssl_zoo.report.table import cell

CONFIDENCE = 0.95
"""Of the one-sided t-interval of the mean difference."""


@dataclass(frozen=True)
class Relation:
    """What a relation came to.

    Attributes:
        verdict: `holds` where the difference is beyond the margin with 95% confidence (one-sided t-interval of the
            differences of equal seeds), `fails` where it is on the other side of it with that confidence, else
            `unclear`: the spread is too large, or there is one seed only. `not measured` where no seed has both.
        difference: left minus right without the margin, mean over the seeds; None where nothing was measured.
        spread: sample standard deviation of the differences; None with fewer than two seeds.
        left: mean of the left side; None where nothing was measured.
        right: mean of the right side, without the margin.
        seeds: number of seeds that have both sides.
    """

    verdict: str
    difference: float | None = None
    spread: float | None = None
    left: float | None = None
    right: float | None = None
    seeds: int = 0


def is_relation(line: str) -> bool:
    """Return whether an expectation names another variant."""
    return ":" in line


def variant_of(side: str) -> tuple[str | None, str]:
    """Return the variant that a side of a relation names, None for the setting's own, and the value's path."""
    variant, colon, path = side.rpartition(":")
    return (variant if colon else None), path


def check_relation(line: str, variants: Sequence[str]) -> None:
    """Make sure that a line is a relation, and between variants that exist.

    Args:
        line: of an experiment's `expect`.
        variants: their names, without the scale.

    Raises:
        UserError: it is not.
    """
    left, sign, right, _ = parsed(line)
    if sign in ("==", "!="):
        raise UserError(f"expect: {line!r} compares means over seeds; write >, <, >= or <=.")
    for side in (left, right):
        variant, path = variant_of(side)
        if variant is not None and variant not in variants:
            raise UserError(
                f"expect: {line!r} names the variant {variant!r}, which there is not{suggest(variant, variants)}"
            )
        if path == "status" or "." not in path:
            raise UserError(f"expect: {line!r} compares means over seeds, and {path!r} is no measured number.")


def judged(line: str, own: Sequence[Summary], others: Mapping[str, Sequence[Summary]]) -> Relation:
    """Return what a relation came to.

    Args:
        line: the relation.
        own: the summaries of the setting that it is said of.
        others: {variant: its summaries}, for those that it names.

    Raises:
        UserError: the line is no expectation.
    """
    left, sign, right, margin = parsed(line)
    sides = [_by_seed(side, own, others) for side in (left, right)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return Relation("not measured")
    differences = [sides[0][seed] - sides[1][seed] for seed in seeds]
    means = [statistics.fmean(side[seed] for seed in seeds) for side in sides]
    towards = 1 if sign in (">", ">=") else -1
    beyond = [towards * (difference - margin) for difference in differences]
    spread = statistics.stdev(differences) if len(differences) > 1 else None
    return Relation(_verdict(beyond, sign), statistics.fmean(differences), spread, means[0], means[1], len(seeds))


def numbers(found: Relation, line: str) -> str:
    """Return the numbers of a relation as text: both sides and their difference with its spread; shares in percent."""
    if found.difference is None or found.left is None or found.right is None:
        return "-"
    metric = variant_of(parsed(line)[0])[1].rpartition(".")[2]
    left, right = cell(metric, found.left), cell(metric, found.right)
    sign = "-" if found.difference < 0 else "+"
    apart = cell(metric, abs(found.difference), found.spread)
    return f"{left} against {right}: {sign}{apart}"


def _verdict(beyond: Sequence[float], sign: str) -> str:
    """Return the verdict on how far the differences are beyond the margin."""
    if len(beyond) < 2:
        return "unclear"
    from scipy.stats import t

    centre, error = statistics.fmean(beyond), statistics.stdev(beyond) / len(beyond) ** 0.5
    reach = float(t.ppf(CONFIDENCE, len(beyond) - 1)) * error
    if centre - reach > 0 or (sign in (">=", "<=") and centre - reach == 0):
        return "holds"
    return "fails" if centre + reach <= 0 else "unclear"


def _by_seed(side: str, own: Sequence[Summary], others: Mapping[str, Sequence[Summary]]) -> dict[int, float]:
    """Return {seed: value} of a side, of the runs that have it."""
    variant, path = variant_of(side)
    found = {}
    for summary in own if variant is None else others.get(variant, ()):
        try:
            found[int(summary.get("seed", 0))] = float(value(path, summary))
        except NotMeasured:
            continue
    return found
