"""Verdicts as text: at the end of a run, and for runs of one setting with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.evaluation.verdict import Verdict, verdict_on
from ssl_zoo.recipe.load import read
from ssl_zoo.report.aggregate import Group
from ssl_zoo.report.table import escaped
from ssl_zoo.runs.folder import RunFolder


def verdict_text(verdict: Mapping[str, Any]) -> str:
    """Return a verdict for the terminal: the level, the sentences, and what to try next with the options to type."""
    lines = [f"verdict: {verdict['level']}", *(f"  {shown_name(sentence)}" for sentence in verdict["sentences"])]
    if verdict["next"]:
        lines += ["next:", *(f"  - {step['why']}: {step['override']}" for step in verdict["next"])]
    return "\n".join(lines)


def verdicts_of(groups: Sequence[Group]) -> dict[str, Verdict]:
    """Return the verdict on each group, by its name; of runs that were not finished there is none."""
    found = {}
    for group in groups:
        ended = [summary for summary in group.summaries if summary.get("status") in ("done", "collapsed", "failed")]
        if ended:
            found[group.name] = verdict_on(ended, _recipe(group))
    return found


def verdict_sentences(groups: Sequence[Group]) -> list[str]:
    """Return one line for each group: its name, the level, and the short answer."""
    return [f"{name}: {each['level']}. {each['sentences'][0]}" for name, each in verdicts_of(groups).items()]


def verdict_lines(groups: Sequence[Group]) -> list[str]:
    """Return the same as the items of a list in Markdown."""
    return [f"- {escaped(line)}" for line in verdict_sentences(groups)]


def _recipe(group: Group) -> dict[str, Any]:
    """Return the recipe of a group's first run as plain data; empty where it cannot be read."""
    try:
        return read(RunFolder(group.runs[0]).recipe) if group.runs else {}
    except UserError:
        return {}
