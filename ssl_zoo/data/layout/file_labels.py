"""Labels of files that a folder does not tell: by a table of names, or by a pattern of file names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_zoo.data.items import number
from ssl_zoo.data.layout.left_out import files
from ssl_zoo.data.layout.table import LABELS, PATHS, Table, typed
from ssl_zoo.data.layout.tree import SplitFiles, TreeSplits
from ssl_zoo.errors import UserError, shown_name

MOST_REPEATS = 4
"""Largest number of repetitions without a bound in a pattern: the time to match grows with the power of it."""

LONGEST_NAME = 255
"""Characters of a file name that a pattern is matched against, from the beginning."""


def relabelled(found: TreeSplits, label_file: str | None, label_pattern: str | None, where: str) -> TreeSplits:
    """Return the splits of a tree with other labels.

    Args:
        found: the splits.
        label_file: a table with a column of file names and one of labels; names may be paths below the root, file
            names, or these without their ending.
        label_pattern: a regular expression with a group `label`, which is searched for in each file name.
        where: what messages call the root.

    Raises:
        UserError: both are given, a pattern or table that fits no file, or a pattern that could take for ever.
    """
    if label_file is None and label_pattern is None:
        return found
    if label_file is not None and label_pattern is not None:
        raise UserError("data.source.label_file: labels are given by data.source.label_pattern too; leave one out.")
    if label_file is not None:
        values, option = _by_table(found, Path(label_file).expanduser()), f"data.source.label_file: {label_file}"
    else:
        assert label_pattern is not None
        values, option = _by_pattern(found, label_pattern), f"data.source.label_pattern: {label_pattern!r}"
    known = sum(each is not None for of in values.values() for each in of)
    total = sum(map(len, values.values()))
    if not known:
        example = next(iter(found.splits.values())).paths[0]
        raise UserError(f"{option} gives no file of {where} a label; one of them is {shown_name(example)}.")
    labels, classes, notes = number(_typed(values), None, where)
    if known < total:
        notes.append(f"{where}: {files(total - known)} of {total} have no label by {option.partition(': ')[0]}.")
    splits = {
        name: SplitFiles(of.paths, labels[name], None if labels[name] is None else classes)
        for name, of in found.splits.items()
    }
    return TreeSplits(splits, (*found.notes, *notes))


def _typed(values: Mapping[str, list[Any]]) -> dict[str, list[Any] | None]:
    together = iter(typed([each for of in values.values() for each in of]))
    return {name: [next(together) for _ in of] for name, of in values.items()}


def _by_table(found: TreeSplits, path: Path) -> dict[str, list[Any]]:
    table = Table(path)
    name = table.column("auto", PATHS, "a column of names")
    label = table.column("auto", LABELS, "a column of labels")
    assert name is not None and label is not None
    known: dict[str, Any] = {}
    for key, value in table.rows([name, label]):
        key = os.path.normpath(str(key))
        if known.setdefault(key, value) != value:
            raise UserError(f"{path}: names {key} twice, with the labels {known[key]!r} and {value!r}.")

    def of(file: str) -> Any:
        base = file.rpartition("/")[2]
        for key in (file, base, os.path.splitext(file)[0], os.path.splitext(base)[0]):
            if key in known:
                return known[key]
        return None

    return {split: [of(file) for file in files_of.paths] for split, files_of in found.splits.items()}


def _by_pattern(found: TreeSplits, pattern: str) -> dict[str, list[Any]]:
    compiled = safe_pattern(pattern, "data.source.label_pattern")

    def of(file: str) -> str | None:
        match = compiled.search(file.rpartition("/")[2][:LONGEST_NAME])
        return None if match is None else match["label"] or None

    return {split: [of(file) for file in files_of.paths] for split, files_of in found.splits.items()}


def safe_pattern(pattern: str, option: str) -> re.Pattern[str]:
    """Return a regular expression with a group `label`, compiled.

    Python's matching goes back and tries again, and some patterns make it do so for ever, on a short name too. Those
    are a repetition of what has a repetition or a choice in it, and many repetitions in a row.

    Raises:
        UserError: it is no such expression, or could take for ever.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"{option}: {pattern!r} is no regular expression: {error}.") from None
    if "label" not in compiled.groupindex:
        raise UserError(f"{option}: {pattern!r} has no group (?P<label>...), which is what the label is taken from.")
    repeats = list(_repeats(_parsed(pattern), inside=False))
    if any(nested for nested in repeats) or len(repeats) > MOST_REPEATS:
        raise UserError(
            f"{option}: {pattern!r} could take for ever, since it repeats what repeats itself, or repeats more than "
            f"{MOST_REPEATS} times; write it with fewer * and +, such as (?P<label>[a-z]+)_."
        )
    return compiled


def _parsed(pattern: str) -> Any:
    import re._parser as parser  # where the standard library keeps the parts of an expression

    return parser.parse(pattern)


_LONG = 8
"""A repetition of up to this often is taken for bounded."""


def _repeats(parts: Iterable[Any], inside: bool) -> Iterator[bool]:
    """Yield, for each repetition without a small bound, whether it is in another one; a choice in one counts too."""
    for operator, argument in parts:
        name = str(operator)
        if "REPEAT" in name:
            _, most, body = argument
            repeats = int(most) > _LONG
            if repeats:
                yield inside
            yield from _repeats(body, inside or repeats)
        elif name == "BRANCH":
            if inside:
                yield True
            for branch in argument[1]:
                yield from _repeats(branch, inside)
        elif name == "GROUPREF" and inside:
            yield True
        else:
            yield from (found for body in _bodies(argument) for found in _repeats(body, inside))


def _bodies(argument: Any) -> Iterator[Any]:
    """Yield the sub-expressions in the argument of an operator: of groups, look-aheads, conditions."""
    if hasattr(argument, "data"):  # a SubPattern
        yield argument
    elif isinstance(argument, (tuple, list)):
        for each in argument:
            yield from _bodies(each)
