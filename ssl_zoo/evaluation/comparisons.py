"""What a verdict rests on: an encoder's metrics of quality beside those of its baselines, protocol by protocol."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.contract import EvaluationProtocol, protocol_class
from ssl_zoo.evaluation.differences import Difference, difference
from ssl_zoo.evaluation.protocol_lists import keyed

MULTIPLE = 2.0
"""A difference counts where it is more than this many times its spread: about 95% of differences that are none are
smaller."""

FEWEST = 30
"""Test samples; with fewer, no difference counts."""

CHANCE = "_chance"
"""The end of the name of what mere chance gives."""

Outcome = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class Comparison:
    """One metric of quality of an encoder, beside that of its baselines.

    Attributes:
        name: of the protocol, and of the metric where it is not an accuracy.
        share: the mean over the runs, 0..1.
        chance: what chance gives, where it is known.
        num: test samples, where they are known.
        runs: the number of runs.
        baselines: `{"raw" | "untrained": its share}`.
        differences: `{"raw" | "untrained": the encoder less it}`.
        stand_in: whether a verdict rests on it only where nothing else was measured.
    """

    name: str
    share: float
    chance: float | None
    num: int | None
    runs: int
    baselines: Mapping[str, float]
    differences: Mapping[str, Difference]
    stand_in: bool

    def versus(self, baseline: str) -> Outcome:
        """Return whether the encoder is better than a baseline by more than `MULTIPLE` times the spread."""
        multiple = self.differences[baseline].multiple
        if self.num is not None and self.num < FEWEST:
            return "unclear"
        return "better" if multiple > MULTIPLE else "worse" if multiple < -MULTIPLE else "unclear"

    @property
    def outcome(self) -> Outcome:
        """`better` than every baseline, `worse` than one of them, or neither."""
        found = {self.versus(baseline) for baseline in self.differences}
        return "worse" if "worse" in found else "better" if found == {"better"} else "unclear"

    @property
    def hardest(self) -> str:
        """The baseline that is hardest to beat."""
        return max(self.baselines, key=lambda name: self.baselines[name])


def compared(summaries: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> list[Comparison]:
    """Return the comparisons that runs of one recipe allow, in the order of the recipe's protocols.

    Args:
        summaries: of the runs, which differ in their seed; see `ssl_zoo.runs.summary`.
        recipe: theirs, as plain data.
    """
    return [
        found
        for key, metric, kind in _metrics(summaries, recipe)
        if (found := _compare(summaries, key, metric, kind)) is not None
    ]


def _metrics(
    summaries: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]
) -> Iterator[tuple[str, str, type[EvaluationProtocol]]]:
    """Yield (key of the results, metric, class of the protocol) of each metric of quality that was measured."""
    parts = [
        {"name": part} if isinstance(part, str) else part
        for part in (recipe.get("evaluation") or {}).get("protocols", ())
    ]
    names = {key: name for key, name, _ in keyed([(part["name"], {}) for part in parts])}
    measured: dict[tuple[str, str], None] = {}
    for summary in summaries:
        for key, values in (summary.get("metrics") or {}).items():
            measured |= dict.fromkeys((key, metric) for metric in values)
    order = {key: number for number, key in enumerate(names)}
    for key, metric in sorted(measured, key=lambda pair: order.get(_own(pair[0]), len(order))):
        try:
            kind = protocol_class(names.get(_own(key), _own(key)))
        except UserError:
            continue  # a protocol of a module that is not imported: nothing says which metric is its quality
        if not metric.endswith(CHANCE) and any(fnmatchcase(metric, pattern) for pattern in kind.quality):
            yield key, metric, kind


def _own(key: str) -> str:
    """Return the key of a protocol without the member of the samples: `image/knn` is `knn`."""
    return key.rpartition("/")[2]


def _compare(
    summaries: Sequence[Mapping[str, Any]], key: str, metric: str, kind: type[EvaluationProtocol]
) -> Comparison | None:
    """Return the comparison of a metric; None where it, or every baseline of it, was measured in no run."""
    differences, baselines = {}, {}
    num = _number(summaries, key)
    for baseline in kind.bars:
        pairs = [
            (own, other)
            for summary in summaries
            if (own := _value(summary.get("metrics"), key, metric)) is not None
            and (other := _value((summary.get("baselines") or {}).get(baseline), key, metric)) is not None
        ]
        if pairs:
            ours, theirs = [own for own, _ in pairs], [other for _, other in pairs]
            differences[baseline], baselines[baseline] = difference(ours, theirs, num), statistics.fmean(theirs)
    shares = [value for summary in summaries if (value := _value(summary.get("metrics"), key, metric)) is not None]
    if not differences or not shares:
        return None
    chance = [
        value for summary in summaries if (value := _value(summary.get("metrics"), key, metric + CHANCE)) is not None
    ]
    name = key if metric == "top1" else f"{key} {metric}"
    share, known = statistics.fmean(shares), statistics.fmean(chance) if chance else None
    return Comparison(name, share, known, num, len(shares), baselines, differences, kind.stand_in)


def _value(results: Any, key: str, metric: str) -> float | None:
    value = ((results or {}).get(key) or {}).get(metric)
    return value if value is not None and math.isfinite(value) else None


def _number(summaries: Sequence[Mapping[str, Any]], key: str) -> int | None:
    """Return the number of test samples of a protocol, the smallest of the runs; None where no run tells."""
    found = []
    for summary in summaries:
        own = ((summary.get("metrics") or {}).get(key) or {}).get("num")
        num = own if own is not None else (summary.get("tested") or {}).get(_own(key))
        found += [int(num)] if num else []
    return min(found, default=None)
