"""The verdict on a run in words: is the encoder better than its baselines, by how much, and what to do next.

It is a function of what a run has written, so that it can be read again from a run folder. It rests on metrics of
quality (`EvaluationProtocol.quality`), and never on spread or rank: those tell a collapse and no more. An encoder that
is worse than an untrained one may have more of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from ssl_zoo.evaluation.comparisons import FEWEST, MULTIPLE, Comparison, compared
from ssl_zoo.evaluation.next_steps import Step, next_steps

Level = Literal["better", "unclear", "worse", "collapsed", "not measured"]

BASELINES = {"raw": "the raw samples", "untrained": "the untrained encoder"}
"""What sentences call them."""

WITHOUT_LABELS = {
    "better": "It tells samples apart better than untrained under the changes of these views; whether it knows what "
    "you need to know, only labels or your own use can tell.",
    "worse": "It has lost what tells samples apart under the changes of these views: nearest neighbours are likely "
    "worse than untrained. A linear classifier on labels of yours may still gain.",
    "unclear": "A few hundred labelled samples would tell what it knows.",
}
"""What a stand-in for labels is worth, by the level that it gives; docs/decisions/0009 has the study."""


class Verdict(TypedDict):
    """What `summary.json` has under `verdict`.

    `level` is `better` (than raw samples and than the untrained encoder, in every metric of quality), `worse` (than one
    of the two in every one), `unclear`, `collapsed` (so the guard says; it goes first) or `not measured`. `sentences`
    say it in words, the first one in short. `next` is what to try.
    """

    level: Level
    sentences: list[str]
    next: list[Step]


def verdict_on(summaries: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> Verdict:
    """Return the verdict on one run, or on several that differ in their seed.

    Args:
        summaries: of the runs: `metrics`, `baselines`, `collapse`, `status`, `epochs`, and `tested`, the number of test
            samples of each protocol.
        recipe: the whole recipe as plain data; empty where there is none, and nothing is suggested.
    """
    every = compared(summaries, recipe)
    main = [each for each in every if not each.stand_in]
    chosen = main or every
    guard = _guard(summaries)
    collapsed = sum(_has_collapsed(summary) for summary in summaries)
    level = "collapsed" if collapsed else _level(chosen)
    sentences = [*guard] if collapsed else []
    sentences += _conclusion(chosen, bool(main)) if chosen else _nothing(summaries)
    sentences += [_numbers(each) for each in chosen]
    if chosen:
        sentences += [_spread(chosen)]
    sentences += [] if collapsed else guard
    epochs = [value for summary in summaries if (value := summary.get("epochs"))]
    remedies = _remedies(summaries) if collapsed else []
    what = "collapsed, with remedies" if remedies else level
    steps = next_steps(what, recipe, epochs=min(epochs, default=None), seeds=len(summaries)) if recipe else []
    steps += remedies
    return Verdict(level=level, sentences=sentences, next=steps)


def _level(chosen: Sequence[Comparison]) -> Level:
    outcomes = {each.outcome for each in chosen}
    if not outcomes:
        return "not measured"
    return "better" if outcomes == {"better"} else "worse" if outcomes == {"worse"} else "unclear"


def _has_collapsed(summary: Mapping[str, Any]) -> bool:
    return "collapsed" in (summary.get("status"), (summary.get("collapse") or {}).get("status"))


def _conclusion(chosen: Sequence[Comparison], labels: bool) -> list[str]:
    """Return the short answer, and without labels what it is worth."""
    level = _level(chosen)
    names = {word: [each for each in chosen if each.outcome == word] for word in ("better", "unclear", "worse")}
    beaten = " and than ".join(BASELINES[name] for name in BASELINES if any(name in each.baselines for each in chosen))
    if level == "better":
        found = f"The encoder is better than {beaten} in {_listed(names['better'])}."
    elif level == "worse":
        found = f"The encoder is worse than {_who_is_better(chosen)}."
    else:
        parts = [f"better than {beaten} in {_listed(names['better'])}"] if names["better"] else []
        parts += [f"worse than {_who_is_better(names['worse'])}"] if names["worse"] else []
        bars = {name for each in chosen for name in each.baselines}
        which = "one of the two" if len(bars) > 1 else beaten
        parts += [f"not clearly apart from {which} in {_listed(names['unclear'])}"] if names["unclear"] else []
        found = f"It is not clear whether the encoder is good: it is {', '.join(parts)}."
    return [found] if labels else [found, f"No accuracy was measured. {WITHOUT_LABELS[level]}"]


def _who_is_better(worse: Sequence[Comparison]) -> str:
    """Return the baselines that an encoder is worse than, and in what."""
    found = []
    for name, words in BASELINES.items():
        by = [each for each in worse if name in each.differences and each.versus(name) == "worse"]
        found += [f"{words} in {_listed(by)}"] if by else []
    return " and than ".join(found)


def _listed(chosen: Sequence[Comparison]) -> str:
    """Return the names of comparisons, with the difference from the baseline that is hardest to beat."""
    return ", ".join(f"{each.name} ({_points(each.differences[each.hardest].value)})" for each in chosen)


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points"


def _numbers(each: Comparison) -> str:
    """Return the numbers of a comparison as a sentence."""
    parts = []
    for name, found in each.differences.items():
        multiple = abs(found.multiple)
        times = "" if multiple == float("inf") else f", {multiple:.1f} times the spread"
        parts.append(f"{BASELINES[name]} {100 * each.baselines[name]:.1f} % ({_points(found.value)}{times})")
    if each.chance is not None:
        parts.append(f"chance {100 * each.chance:.1f} %")
    return f"{each.name}: {100 * each.share:.1f} %; {'; '.join(parts)}."


def _spread(chosen: Sequence[Comparison]) -> str:
    """Return what the differences are held against."""
    numbers = sorted({each.num for each in chosen if each.num is not None})
    tested = f"{' to '.join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))} test samples" if numbers else ""
    if numbers and numbers[0] < FEWEST:
        return f"With fewer than {FEWEST} test samples ({tested}) no difference counts."
    runs = max(each.runs for each in chosen)
    rule = f"A difference counts from {MULTIPLE:g} times its spread on"
    if runs > 1:
        also = f", or the standard error of {tested}, if that is larger" if tested else ""
        return f"{rule}: the standard deviation of the differences over {runs} seeds{also}."
    if not tested:
        return f"{rule}, which the number of test samples would give; this run does not tell it."
    return f"{rule}: the standard error of {tested}. It is one run, which does not show how much seeds differ."


def _nothing(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why there is nothing to compare."""
    reasons = dict.fromkeys(str(summary["reason"]) for summary in summaries if summary.get("reason"))
    if any(summary.get("status") == "failed" for summary in summaries):
        return ["The run has failed, and no encoder was measured.", *reasons]
    if not any(summary.get("metrics") for summary in summaries):
        return ["Nothing was measured, so nothing can be said of how good the encoder is."]
    if not any(summary.get("baselines") for summary in summaries):
        return ["Whether the encoder is good cannot be said: the baselines that it has to beat were not measured."]
    return [
        "Whether the encoder is good cannot be said: what was measured, such as spread and rank, tells a collapse and "
        "not quality. An encoder that is worse than an untrained one may have more of both."
    ]


def _guard(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the collapse guard says, in sentences: of each run that it has something to say about."""
    found = []
    for summary in summaries:
        collapse = summary.get("collapse") or {}
        status, reason = collapse.get("status"), str(collapse.get("reason") or "").rstrip(".")
        seed = f" (seed {summary.get('seed')})" if len(summaries) > 1 else ""
        if _has_collapsed(summary):
            cause = str(collapse.get("cause") or "").rstrip(".")
            found.append(f"The representation has collapsed{seed}{': ' + reason if reason else ''}.")
            found += [f"{cause[0].upper()}{cause[1:]}."] if cause else []
        elif status == "warned":
            found.append(f"The guard warned of a collapse that did not last{seed}: {reason}.")
        elif status == "not judged":
            found.append(f"The guard could not judge whether it has collapsed{seed}: {reason}.")
        elif status == "off":
            found.append("The guard was off.")
    seen = [(summary.get("collapse") or {}).get("status") for summary in summaries]
    if seen and all(status == "ok" for status in seen):
        found.append("The guard saw no collapse, which does not make an encoder good.")
    return list(dict.fromkeys(found))


def _remedies(summaries: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Return the remedies of the guard's alarm, of the first run that collapsed and has some to type."""
    for summary in summaries:
        found = []
        for text in (summary.get("collapse") or {}).get("remedies") or () if _has_collapsed(summary) else ():
            why, typed, override = str(text).partition(": -s ")
            found += [Step(why=why, override=f"-s {override}")] if typed else []
        if found:
            return found
    return []
