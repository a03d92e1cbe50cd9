"""Replay the guard on the records and write `RESULTS.md`: what it found, when, and what was true.

python -m experiments.guard.table
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from experiments.guard import verdict as truth
from experiments.guard.outcome import Outcome, outcomes
from experiments.guard.records import HERE, read
from experiments.guard.terms import of_terms
from experiments.guard.verdict import verdict

HEAD = (
    "method", "forced", "run", "truth", "right kinds", "alarm", "first seen", "step", "spent", "found by z",
    "found by h", "kNN by z", "kNN by h",
)  # fmt: skip


def size_of(each: Outcome) -> str:
    """Return the size of a run in words."""
    s = each.setting
    data = s.data if s.network == "layers" else f"{s.data}, {s.network}"
    return f"{data}, width {s.cap}, batch {s.batch}, {s.steps} steps, seed {s.seed}"


def what(each: Outcome) -> str:
    """Return what was done to a run."""
    return each.setting.forced or ("fixed predictor" if each.setting.change else "whole")


def shown(each: Outcome) -> list[str]:
    """Return the cells of a run."""
    true = each.truth.state
    if each.truth.step is not None:
        true += f" from {each.truth.step} ({' and '.join(each.truth.of)})"
    found = f"{each.kind} ({each.alarm.of or 'tokens'}, {each.alarm.metric})" if each.alarm else each.kind or "-"
    measured = [each.metric(name) for name in ("found_z", "found_h", "knn_z", "knn_h")]
    values = ["-" if pair is None else f"{pair[0]:.2f} to {pair[1]:.2f}" for pair in measured]
    first = str(each.alarm.since) if each.alarm else "-"
    spent = "-" if each.truth.step is None else f"{each.spent:.0%}"
    kinds = " or ".join(each.setting.kinds) or "-"
    return [each.setting.method, what(each), size_of(each), true, kinds, found, first, str(each.step or "-"), spent,
            *values]  # fmt: skip


def table(rows: Sequence[Outcome]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(HEAD)} |"
    yield f"| {' | '.join('---' for _ in HEAD)} |"
    yield from (f"| {' | '.join(shown(each))} |" for each in rows)


Which = Callable[[Outcome], bool]


def of_state(state: str) -> Which:
    """Return whether a run is in a state by the truth."""
    return lambda each: each.truth.state == state


FORCED_COUNTS = ("collapsed", "found", "in time", "in time and of the right kind", "between", "alarms of these",
                 "healthy", "alarms of these ")  # fmt: skip
WHOLE_COUNTS = ("healthy", "false alarms", "between", "alarms of these", "collapsed", "alarms of these ")


def counted_forced(rows: Sequence[Outcome]) -> list[int]:
    """Return the counts of the forced runs of a half."""
    gone, between, healthy = (list(filter(of_state(s), rows)) for s in ("collapsed", "between", "healthy"))
    found = [each for each in gone if each.kind]
    in_time = [each for each in found if each.in_time]
    right = [each for each in in_time if each.right_kind]
    return [len(gone), len(found), len(in_time), len(right), len(between), alarms(between), len(healthy),
            alarms(healthy)]  # fmt: skip


def counted_whole(rows: Sequence[Outcome]) -> list[int]:
    """Return the counts of the whole methods of a half."""
    groups = [list(filter(of_state(s), rows)) for s in ("healthy", "between", "collapsed")]
    return [number for group in groups for number in (len(group), alarms(group))]


def alarms(rows: Sequence[Outcome]) -> int:
    """Return how many of the runs have an alarm."""
    return sum(bool(each.kind) for each in rows)


def halves(rows: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the runs of each half."""
    return {
        "calibration": [each for each in rows if not each.setting.held_out],
        "held out": [each for each in rows if each.setting.held_out],
    }


def counts(rows: Sequence[Outcome]) -> list[str]:
    """Return the lines of the two tables of counts."""
    found: list[str] = []
    for title, names, count, forced in (
        ("forced", FORCED_COUNTS, counted_forced, True),
        ("whole methods", WHOLE_COUNTS, counted_whole, False),
    ):
        found += [f"| {title} | runs | {' | '.join(names)} |", f"| --- | --- | {' | '.join('---' for _ in names)} |"]
        for name, half in halves(rows).items():
            own = [each for each in half if bool(each.setting.forced) == forced]
            found.append(f"| {name} | {len(own)} | {' | '.join(map(str, count(own)))} |")
        found.append("")
    return found


def wrong(rows: Sequence[Outcome]) -> list[Outcome]:
    """Return the runs in which the guard fell short, and those whose alarm the truth does not show."""
    return [
        each
        for each in rows
        if (each.truth.state == "collapsed" and each.setting.forced and not (each.in_time and each.right_kind))
        or (each.truth.state != "collapsed" and each.kind)
        or (each.truth.state != "healthy" and not each.setting.forced)
    ]


def state_with(tried: Mapping[str, Any]) -> str:
    """Return the state of a run with a remedy; a run that still does not learn is called collapsed."""
    return "collapsed" if tried["kind"] == "no learning" else verdict(tried).state


def trials(rows: Sequence[Outcome], tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines about the remedies."""
    by_name = {each.setting.name: each for each in rows}
    states = [state_with(each) for each in tried]
    summary = ", ".join(f"{states.count(state)} {state}" for state in ("healthy", "between", "collapsed"))
    found = [f"Of {len(tried)} runs, with it: {summary}.", ""]
    found += ["| method | forced | run | alarm | first remedy | with it | found by z |", "| --- " * 7 + "|"]
    for each in tried:
        before = by_name[each["name"]]
        first, last = each["truth"][0][1], each["truth"][-1][1]
        pair = "found_z" if "found_z" in first else "found_h"
        values = f"{first.get(pair, 0):.2f} to {last.get(pair, 0):.2f}"
        found.append(f"| {before.setting.method} | {what(before)} | {size_of(before)} | {before.kind} | "
                     f"{each['remedy'].replace('|', '/')} | {state_with(each)} | {values} |")  # fmt: skip
    return found


PAGE = """\
# The collapse guard on forced collapses and whole methods

Generated by `python -m experiments.guard.table` from `records.json.gz`, which `python -m experiments.guard.record`
and `python -m experiments.guard.trial` make; Python {python}, torch {torch}, {threads} thread of a CPU.

{num} runs of {least} to {most} steps: two layers with BatchNorm, a small convnet (`convnet`) or a small transformer
(`vit`, methods that predict tokens) on 8 x 8 images: scikit-learn's digits, spoken digits as spectrograms, pairs of
digits. Runs with an even seed are for calibration: rules and limits were changed by them alone. {held_out}

## What is true

{truth}

A learning rate of 1e-9 is *no learning*, from step 0 on. Pairs count as apart from the middle of the run on, since
before it healthy members may still come together. *In time* is an alarm before {late:.0%} of the run were spent in
collapse; an alarm before the collapse shows on held-out samples is in time too. `z` is the projection, `h` the
encoder's output; *found by* and *kNN by* are the untrained network's and those at the end.

## Counts

{counts}
## Where it fell short

Collapses that were missed, late or of another kind; alarms of runs that have not collapsed by the truth, forced ones
included; and whole methods that are not healthy.

{wrong}

## The first remedy, run as typed

Of forced runs of the calibration half, on digits, that had collapsed and had an alarm: the same run again, from the
start, with the first remedy of the alarm.

{trials}

## What a check costs

Medians of {timed} runs, on a machine that did other work: a check takes {check:.1f} ms, a step of two layers
{step:.1f} ms (n = {num_layers}), of the convnet of 8, 16 and 32 channels {convnet:.1f} ms (n = {num_convnet}). At the
default, a check every 25 steps, that is {share:.1%} of the time of the former and {share_convnet:.1%} of that of the
latter, more than 1 % of networks as small as these; runs of fewer than 1,250 steps are looked at more often.

## A term that dies

{terms}

{tables}"""


def page(rows: Sequence[Outcome], content: Mapping[str, Any]) -> str:
    """Return the page of results."""
    timed = [each for each in rows if each.record["checks"] and each.setting.network != "vit"]
    check = median(each.record["seconds"]["measuring"] / len(each.record["checks"]) for each in timed)
    steps = {
        network: [
            each.record["seconds"]["steps"] / each.record["checks"][-1][0]
            for each in timed
            if each.setting.network == network
        ]
        for network in ("layers", "convnet")
    }
    step, convnet = median(steps["layers"]), median(steps["convnet"])
    tables = []
    for name, half in halves(rows).items():
        ordered = sorted(half, key=lambda each: not each.setting.forced)
        tables += [f"## {name.capitalize()}", "", *table(ordered), ""]
    definition = (truth.__doc__ or "").partition("\n\n")[2].strip()
    return PAGE.format(
        **content["about"], num=len(rows), least=min(r.setting.steps for r in rows),
        most=max(r.setting.steps for r in rows), held_out=HELD_OUT_USE, truth=definition, late=0.1,
        counts="\n".join(counts(rows)), wrong="\n".join(table(wrong(rows))),
        trials="\n".join(trials(rows, content.get("trial", []))), timed=len(timed), check=1e3 * check, step=1e3 * step,
        num_layers=len(steps["layers"]), convnet=1e3 * convnet, num_convnet=len(steps["convnet"]),
        share=check / step / 25, share_convnet=check / convnet / 25, terms="\n".join(of_terms(rows)),
        tables="\n".join(tables),
    )  # fmt: skip


HELD_OUT_USE = "Those with an odd seed were looked at once, when no rule was changed any more."


if __name__ == "__main__":
    found = outcomes()
    text = page(found, read())
    (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    print("\n".join(counts(found)))
