"""Expectations: conditions on the results of an experiment, checked on each run's summary.

An expectation is a line such as `knn.top1 > raw.knn.top1`, `few_shot.top1 > untrained.few_shot.top1 + 0.2` or
`status == collapsed`. A side is a number, a status, `status`, `collapse.METRIC`, or PROTOCOL.METRIC, preceded by `raw.`
or `untrained.` for the baselines. A line with a side of another variant is a relation: see `ssl_zoo.report.relations`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from ssl_zoo.errors import UserError

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_LINE = re.compile(r"(\S+)\s*(>=|<=|==|!=|>|<)\s*(\S+)(?:\s*([+-])\s*(\d*\.?\d+))?")
_NUMBER = re.compile(r"-?\d*\.?\d+")
STATUSES = ("done", "collapsed", "failed", "interrupted")


class NotMeasured(UserError):
    """A summary lacks a value that an expectation names."""


def parsed(line: str) -> tuple[str, str, str, float]:
    """Return the left side, the operator, the right side and the number that is added to the right side.

    Raises:
        UserError: the line is no expectation.
    """
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise UserError(f"expect: {line!r} is not of the form LEFT > RIGHT or LEFT > RIGHT + NUMBER.")
    left, sign, right, plus, margin = match.groups()
    words = [side for side in (left, right) if side == "status" or side in STATUSES]
    if words and (margin is not None or sign not in ("==", "!=") or any(map(_NUMBER.fullmatch, (left, right)))):
        raise UserError(f"expect: {line!r} uses {words[0]} as a number; write status == done or status != collapsed.")
    return left, sign, right, float(margin or 0) * (-1 if plus == "-" else 1)


def value(text: str, summary: Mapping[str, Any]) -> Any:
    """Return the value of a side of an expectation in a summary.

    Args:
        text: the side.
        summary: of a run.

    Raises:
        NotMeasured: the summary has no such value.
    """
    if _NUMBER.fullmatch(text):
        return float(text)
    if text in STATUSES:
        return text
    if text == "status":
        return summary.get("status", "not finished")
    head, _, rest = text.partition(".")
    tree: Any = summary.get("metrics")
    if head in ("raw", "untrained"):
        tree, text = (summary.get("baselines") or {}).get(head), rest
    elif head == "collapse":
        tree, text = (summary.get("collapse") or {}).get("metrics"), rest
    for key in text.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    if not isinstance(tree, (int, float)):
        raise NotMeasured(f"expect: {text!r} is not measured by the run.")
    return tree


def holds(line: str, summary: Mapping[str, Any]) -> bool:
    """Return whether a run's summary fulfils an expectation.

    Raises:
        NotMeasured: the run does not have what the line names.
        UserError: the line is no expectation.
    """
    left, sign, right, margin = parsed(line)
    goal = value(right, summary)
    return _OPERATORS[sign](value(left, summary), goal + margin if margin else goal)
