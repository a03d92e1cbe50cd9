"""The findings of a paper beside what a study's runs came to: paper, ours, verdict, n, spread, and a note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ssl_zoo.report import relations
from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.results import verdict_on_run
from ssl_zoo.report.table import code, escaped, markdown

CONFIRMED, NOT_CONFIRMED, UNCLEAR, OPEN = "confirmed", "not confirmed", "unclear", "not measured"

WORDS = {"holds": CONFIRMED, "fails": NOT_CONFIRMED, "unclear": UNCLEAR}

NOTE = (
    "A condition on one setting has to hold in each run. One that names another setting, as `base:` does, compares "
    "means over the seeds: it is confirmed where the difference is beyond the margin with 95% confidence (one-sided "
    "t-interval of the differences of equal seeds), not confirmed where it is on the other side with that confidence, "
    "and unclear between. Paper: linear top-1 in percent. Ours: the values that the condition compares, and their "
    "difference with its sample standard deviation over seeds; accuracies in percent."
)


@dataclass(frozen=True)
class Claim:
    """What is expected of a group of runs.

    Attributes:
        experiment: that the group belongs to.
        expect: conditions, each a line.
        peers: {name in a condition: name of the group that it means}.
        paper: what the paper reports; empty where nothing.
    """

    experiment: str
    expect: tuple[str, ...] = ()
    peers: Mapping[str, str] = field(default_factory=dict)
    paper: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a condition came to: `holds`, `fails`, `unclear` or `not measured`, and the numbers behind it."""

    line: str
    verdict: str
    numbers: str


def outcome(line: str, group: Group, claim: Claim, groups: Mapping[str, Group]) -> Outcome:
    """Return what a condition on a group came to.

    Args:
        line: the condition.
        group: whose it is.
        claim: that it belongs to.
        groups: all groups by their names.
    """
    if relations.is_relation(line):
        others = {peer: groups[name].summaries for peer, name in claim.peers.items() if name in groups}
        found = relations.judged(line, group.summaries, others)
        return Outcome(line, found.verdict, relations.numbers(found, line))
    verdicts = [verdict_on_run(line, summary) for summary in group.summaries]
    counted = f"{verdicts.count('holds')} of {len(verdicts)} runs"
    for word in ("fails", "not finished", "not measured"):
        if word in verdicts:
            return Outcome(line, "fails" if word == "fails" else OPEN, counted)
    return Outcome(line, "holds", counted)


def findings_text(groups: Sequence[Group], claims: Mapping[str, Claim], notes: Mapping[str, str]) -> list[str]:
    """Return the paragraphs about a paper's findings; none where no claim has one.

    Args:
        groups: the runs, by setting.
        claims: {name of a group: what is expected of it}.
        notes: {experiment: a paragraph that is printed below its table}.
    """
    by_name = {group.name: group for group in groups}
    tables: dict[str, list[list[str]]] = {}
    verdicts: list[str] = []
    whole: list[bool] = []
    for group in groups:
        claim = claims.get(group.name, Claim(""))
        if not claim.paper:
            continue
        rows = tables.setdefault(claim.experiment, [])
        first, num = [escaped(group.name), escaped(claim.paper)], str(len(group.summaries))
        for line in claim.expect:
            found = outcome(line, group, claim, by_name)
            verdicts.append(WORDS.get(found.verdict, OPEN))
            rows.append([*first, code(line), found.numbers, verdicts[-1], num])
            first = ["", ""]
        whole += [set(verdicts[-len(claim.expect) :]) == {CONFIRMED}] if claim.expect else []
        if not claim.expect:
            rows.append([*first, "-", "-", "-", num])
    if not tables:
        return []
    counts = ", ".join(f"{verdicts.count(w)} {w}" for w in (CONFIRMED, NOT_CONFIRMED, UNCLEAR, OPEN) if w in verdicts)
    shown = f"{sum(whole)} of {len(whole)} settings have all of theirs confirmed."
    parts = ["## The paper's findings", f"{len(verdicts)} conditions: {counts or 'none'}. {shown} {NOTE}"]
    for experiment, rows in tables.items():
        header = ["setting", "paper", "condition", "ours", "verdict", "n"]
        parts += [f"### {escaped(experiment)}", markdown(header, rows)]
        parts += [" ".join(notes[experiment].split())] if notes.get(experiment) else []
    return parts
