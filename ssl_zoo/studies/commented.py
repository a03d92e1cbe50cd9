"""A recipe as YAML with comments: the reason of each setting beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

WIDTH = 120


def commented(raw: Mapping[str, Any], reasons: Mapping[str, str], header: Sequence[str]) -> str:
    """Return a recipe as YAML.

    Args:
        raw: the recipe as plain data.
        reasons: `{dotted key: sentence}`; each stands above its key.
        header: sentences for the top of the file.
    """
    lines: list[str] = []
    for sentence in header:
        lines += _comment(sentence, "")
    for key, value in raw.items():
        lines += _entry(key, value, reasons, "", "")
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any, reasons: Mapping[str, str], above: str, indent: str) -> list[str]:
    path = f"{above}{key}"
    lines = _comment(reasons[path], indent) if path in reasons else []
    inner = [each for each in reasons if each.startswith(f"{path}.")]
    if isinstance(value, Mapping) and value and (inner or (not indent and "name" not in value)):
        lines.append(f"{indent}{key}:")
        for name, each in value.items():
            lines += _entry(str(name), each, reasons, f"{path}.", indent + "  ")
    else:
        lines += _wrapped(f"{indent}{key}: {_flow(value)}", indent)
    return lines


def _flow(value: Any) -> str:
    """Return a value on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).removesuffix("\n...\n").strip()


def _comment(sentence: str, indent: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ",
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _wrapped(line: str, indent: str) -> list[str]:
    """Return a long flow mapping or list on several lines, broken behind commas."""
    if len(line) <= WIDTH or "'" in line or '"' in line:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)
