"""Expectations: what an experiment says its runs must show, checked on each run's summary.

One is a line such as `knn.top1 > pixels.knn.top1`, `few_shot.top1 > untrained.few_shot.top1 + 0.2` or
`status == collapsed`. A side is a number, a word, `status`, `collapse.METRIC`, or PROTOCOL.METRIC, with `pixels.` or
`untrained.` before it for the baselines.
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
STATUSES = ("done", "collapsed", "failed", "interrupted")


def _side(text: str, summary: Mapping[str, Any]) -> Any:
    """Return what a side of an expectation stands for in a summary.

    Raises:
        UserError: the summary has no such value.
    """
    if re.fullmatch(r"-?\d*\.?\d+", text):
        return float(text)
    if text in STATUSES:
        return text
    if text == "status":
        return summary["status"]
    head, _, rest = text.partition(".")
    tree: Any = summary["metrics"]
    if head in ("pixels", "untrained"):
        tree, text = summary["baselines"].get(head, {}), rest
    elif head == "collapse":
        tree, text = summary["collapse"]["metrics"], rest
    for key in text.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            raise UserError(f"expect: {text!r} names no value of the run ({key!r} is not measured).")
        tree = tree[key]
    return tree


def holds(line: str, summary: Mapping[str, Any]) -> bool:
    """Return whether a run's summary shows what a line expects.

    Raises:
        UserError: the line is no expectation, or names what the run does not have.
    """
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise UserError(f"expect: {line!r} is not of the form LEFT > RIGHT or LEFT > RIGHT + NUMBER.")
    left, sign, right, plus, margin = match.groups()
    goal = _side(right, summary)
    if margin is not None:
        goal += float(margin) * (1 if plus == "+" else -1)
    return _OPERATORS[sign](_side(left, summary), goal)
