"""Families of parts whose members differ in their options: `lightly/*`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar


class Family:
    """A family whose members are known by name and have options of their own: what is registered under `lightly/*`.

    A family whose members share their options, such as `timm/*`, is a plain function with the parameter `model`.

    Attributes:
        members: {name: summary} of the parts that there are.
        refused: {name: why} of those that the other library has, and that cannot be used.
    """

    members: ClassVar[Mapping[str, str]] = {}
    refused: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def member(cls, name: str) -> Callable[..., Any]:
        """Return the class or function that builds a member, the same one in each call."""
        raise NotImplementedError


def doc_of_family(text: str, family: type[Family]) -> str:
    """Return the documentation of a family: some text, its members, and those that are refused, with the reason."""
    lines = [text, "", "Members, by name:", ""]
    lines += [f"- `{name}`: {summary}" for name, summary in sorted(family.members.items())]
    if family.refused:
        lines += ["", "Not to be used here, and why:", ""]
        lines += [f"- `{name}`: {why}." for name, why in sorted(family.refused.items())]
    return "\n".join(lines)
