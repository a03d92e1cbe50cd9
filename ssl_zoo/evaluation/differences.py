"""Differences between an encoder and a baseline, and the spread that they are held against."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """How much better one representation is than another.

    Attributes:
        value: the mean over the runs of share minus the other's share, -1..1.
        spread: what it is held against, see `difference`.
    """

    value: float
    spread: float

    @property
    def multiple(self) -> float:
        """How many times the spread the difference is, with its sign."""
        if self.value == 0 or math.isinf(self.spread):
            return 0.0
        return self.value / self.spread if self.spread else math.copysign(math.inf, self.value)


def standard_error(share: float, other: float, num: int) -> float:
    """Return the standard error of the difference of two shares of `num` test samples each.

    sqrt(p(1 - p) / m + q(1 - q) / m), where p, q and m count one more success and one more failure than were seen
    (Agresti & Caffo 2000, The American Statistician 54): shares of 0 and 1 would else seem to be without error. The
    shares are treated as independent. They are of the same samples, which mostly makes the true error smaller. Means of
    any numbers in 0..1 over the samples have at most this error.

    Args:
        share: 0..1.
        other: 0..1.
        num: test samples, at least 1.
    """
    total = num + 2
    p, q = ((each * num + 1) / total for each in (share, other))
    return math.sqrt((p * (1 - p) + q * (1 - q)) / total)


def difference(shares: Sequence[float], others: Sequence[float], num: int | None) -> Difference:
    """Return the difference of two representations over some runs.

    Its spread is, for one run, the standard error of the test. For several it is the sample standard deviation of the
    differences of the runs, or the standard error of the test, whichever is larger: seeds share their test samples, so
    that more of them do not make the test more exact.

    Args:
        shares: one for each run, 0..1.
        others: the other's, in the same order.
        num: test samples; None where it is not known, and the spread of one run then is infinite.
    """
    found = [share - other for share, other in zip(shares, others, strict=True)]
    over_seeds = [statistics.stdev(found)] if len(found) > 1 else []
    of_test = [standard_error(statistics.fmean(shares), statistics.fmean(others), num)] if num else []
    return Difference(statistics.fmean(found), max([*over_seeds, *of_test], default=math.inf))
