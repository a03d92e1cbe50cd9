"""Rules that say without labels whether an encoder is better than untrained, and how often they are right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from experiments.label_free.points import BETTER, Point, table

MARGIN = 0.02
"""A difference of accuracies that counts as one, about a standard error of the difference at 500 test samples."""

Rule = Callable[[Point], bool | None]


def verdict(point: Point, errors: float) -> str:
    """Return what a verdict says by `r1` against the untrained encoder, see docs/decisions/0009.

    Args:
        point: the encoder.
        errors: how many standard errors of the difference it has to be, of 1,000 samples as in `view_retrieval`.
    """
    now, start = point.now.get("r1") or 0.0, point.start.get("r1") or 0.0
    error = math.sqrt((now * (1 - now) + start * (1 - start)) / 1000)
    gain = now - start
    return "better" if gain > errors * error else "worse" if gain < -errors * error else "unclear"


def rules() -> dict[str, Rule]:
    """Return what may be said of an encoder without labels, by name: whether it is better than untrained."""

    def above(metric: str) -> Rule:
        return lambda point: None if (gain := point.gain(metric)) is None else gain > 0

    def beats_both(point: Point) -> bool | None:
        now, start, raw = (values.get("r1") for values in (point.now, point.start, point.raw))
        return None if now is None or start is None or raw is None else now > max(start, raw)

    found: dict[str, Rule] = {
        "`r1` above untrained": above("r1"),
        "`r1` above untrained and raw": beats_both,
        "`r1` above by an error (no: not so)": lambda point: verdict(point, 1) == "better",
        "`r1` not below by an error (no: below)": lambda point: verdict(point, 1) != "worse",
        "`r1` above by two errors (no: not so)": lambda point: verdict(point, 2) == "better",
        "`r1` not below by two errors (no: below)": lambda point: verdict(point, 2) != "worse",
    }
    for metric, sign in BETTER.items():
        if metric not in ("r1", "r5"):
            found[f"`{metric}` {'above' if sign > 0 else 'below'} untrained"] = above(metric)
    return found


def judged(some: Sequence[Point], rule: Rule, probe: str, margin: float = MARGIN) -> tuple[int, int, int, int]:
    """Return how often a rule says better and it is, says so and it is worse, and does not: (better, worse) each.

    An encoder is better or worse than untrained where the accuracies differ by more than `margin`; others are left out.
    """
    counts = [0, 0, 0, 0]
    for point in some:
        said, gain = rule(point), point.gain(probe)
        if said is None or gain is None or abs(gain) <= margin:
            continue
        counts[(0 if said else 2) + (0 if gain > 0 else 1)] += 1
    return counts[0], counts[1], counts[2], counts[3]


def share(part: int, whole: int) -> str:
    """Return `83 % (60 to 94)`, a share with its 95 % Wilson interval."""
    if not whole:
        return "-"
    z, p = 1.96, part / whole
    middle, half = p + z * z / 2 / whole, z * math.sqrt(p * (1 - p) / whole + z * z / 4 / whole**2)
    low, high = ((middle + sign * half) / (1 + z * z / whole) for sign in (-1, 1))
    return f"{100 * p:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def decisions(some: Sequence[Point], probe: str) -> str:
    """Return the table of what each rule says and what is true."""
    rows = []
    for name, rule in rules().items():
        right, wrong, missed, avoided = judged(some, rule, probe)
        rows.append([name, str(right), str(wrong), str(missed), str(avoided), share(right, right + wrong),
                     share(avoided, avoided + missed), share(right, right + missed)])  # fmt: skip
    header = ["rule", "says yes, better", "says yes, worse", "says no, better", "says no, worse",
              "better where it says yes", "worse where it says no", "of the better, found"]  # fmt: skip
    return table(header, rows)
