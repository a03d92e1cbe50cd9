"""The truth in words: whether a run has collapsed, by its held-out samples, and not by what the guard looks at.

What is measured is how often a sample is found by its other view among 20, from embeddings that are disturbed by a
tenth of their length (`truth.py`); chance is 1 in 20. Of what is above chance at its best so far, the untrained network
included, a part is left:

- *collapsed*: less than a quarter is left, and fewer samples are found than by the untrained network;
- *healthy*: half is left, or as many samples are found as by the untrained network;
- *between*: neither, or there was never anything to lose (less than 1 in 10 was found, at best).

It is asked of z, of h, and, where tokens are predicted, of tokens: whether a token's place is found in its sample, and
its sample among 20 at its place. A run has collapsed if one of them has at its end; the step is that from which on it
was never healthy again. Embeddings or a loss that are not finite are a collapse. Members of a pair are *apart* if the
label of a sample is that of its nearest in the other member less than a quarter as often, above chance, as that of its
nearest in its own; more than half as often is healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["collapsed", "between", "healthy"]

CHANCE: dict[str, float] = {"found_z": 0.05, "found_h": 0.05, "sample": 0.05, "place": 1 / 16}
PARTS = {"found_z": "z", "found_h": "h", "sample": "tokens", "place": "tokens"}
LABELS = 0.1
LEFT_COLLAPSED, LEFT_HEALTHY, LEAST = 0.25, 0.5, 0.1


@dataclass(frozen=True)
class Verdict:
    """What is true of a run.

    Attributes:
        state: at its end.
        step: from which on it is not healthy any more, of a collapsed one.
        of: what has collapsed: `z`, `h`, `tokens`, `apart`.
    """

    state: State
    step: int | None = None
    of: tuple[str, ...] = ()


def _state(now: float, best: float, untrained: float, chance: float) -> State:
    left = (now - chance) / max(best - chance, 1e-9)
    if best < LEAST:
        return "between"
    if left < LEFT_COLLAPSED and now < untrained:
        return "collapsed"
    return "healthy" if left >= LEFT_HEALTHY or now >= untrained else "between"


def apart(now: Mapping[str, float]) -> State:
    """Return whether members of pairs have come together."""
    left = (now["partner"] - LABELS) / max(now["knn_z"] - LABELS, 1e-9)
    return "collapsed" if left < LEFT_COLLAPSED else "healthy" if left >= LEFT_HEALTHY else "between"


def verdict(record: Mapping[str, Any]) -> Verdict:
    """Return what is true of a run, from its record."""
    if record["ended"] != "done":
        return Verdict("collapsed", int(record["ended"].split()[1].rstrip(":")), ("z", "h"))
    truths = record["truth"]
    start = truths[0][1]
    best: dict[str, float] = {}
    states: list[dict[str, State]] = []
    for _, now in truths:
        if "finite" in now:
            states.append(dict.fromkeys(best, "collapsed"))
            continue
        best = {key: max(now[key], best.get(key, 0.0)) for key in CHANCE if key in now}
        states.append({key: _state(now[key], best[key], start[key], CHANCE[key]) for key in best})
    gone = [key for key, state in states[-1].items() if state == "collapsed"]
    if gone:
        first = min(_since([state[key] for state in states]) for key in gone)
        return Verdict("collapsed", truths[first][0], tuple(dict.fromkeys(PARTS[key] for key in gone)))
    together: State = apart(truths[-1][1]) if "partner" in truths[-1][1] else "healthy"
    if together == "collapsed":
        return Verdict("collapsed", record["steps"] // 2, ("apart",))
    return Verdict("healthy" if {*states[-1].values(), together} == {"healthy"} else "between")


def _since(states: list[State]) -> int:
    """Return the first look at a collapse after which it was never healthy again."""
    first = max((i for i, state in enumerate(states) if state == "healthy"), default=-1) + 1
    return next(i for i in range(first, len(states)) if states[i] == "collapsed")
