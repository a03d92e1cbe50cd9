"""Whether a rule "a term of the objective dies" would do: how often terms die or rise again in healthy runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from experiments.guard.outcome import Outcome

DEAD, BACK, WINDOW = 0.01, 0.5, 4


def courses(record: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return {term: its size over the run, means of 4 checks}."""
    each = [check[5] for check in record["checks"] if None not in check[5].values()]
    if len(each) < 2 * WINDOW:
        return {}
    windows = [each[i:j] for i, j in pairwise(range(0, len(each) + 1, WINDOW))]
    return {name: [sum(abs(terms[name]) for terms in w) / len(w) for w in windows] for name in each[0]}


def dying(record: Mapping[str, Any]) -> list[str]:
    """Return the terms whose size ends below a hundredth of the largest that it had."""
    return [name for name, sizes in courses(record).items() if sizes[-1] < DEAD * max(sizes)]


def rising(record: Mapping[str, Any]) -> list[str]:
    """Return the terms that rise again by half of what they fell, while another one goes on to fall."""
    found = courses(record)
    back = []
    for name, sizes in found.items():
        lowest = min(range(len(sizes)), key=lambda i: sizes[i])
        fell, rose = sizes[0] - sizes[lowest], sizes[-1] - sizes[lowest]
        others = any(x[-1] < x[lowest] for other, x in found.items() if other != name)
        if fell > DEAD * sizes[0] and rose > BACK * fell and others:
            back.append(name)
    return back


def of_terms(rows: Sequence[Outcome]) -> list[str]:
    """Return what is seen of terms, in lines."""
    lines = [
        "Of runs with two terms or more: in how many the size of a term, a mean of four checks, ends below 1 % of its "
        "largest (*dies*), or rises again by half of what it fell while another term goes on to fall (*comes back*).",
        "",
        "| runs | number | a term dies | which | a term comes back | which |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for title, state, forced in (
        ("whole methods, healthy", "healthy", False),
        ("forced, collapsed", "collapsed", True),
    ):
        own = [each.record for each in rows if each.truth.state == state and bool(each.setting.forced) == forced]
        own = [record for record in own if len(courses(record)) > 1]
        cells = [title, str(len(own))]
        for rule in (dying, rising):
            names = [rule(record) for record in own]
            which = Counter(name for each in names for name in each)
            cells += [
                str(sum(map(bool, names))),
                ", ".join(f"{name} {num}" for name, num in which.most_common()) or "-",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
