"""A registered part: its name, the class or function that builds it, and the schema of its options.

The options are the keyword-only parameters of the signature, with their types and defaults.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, create_model

from ssl_zoo.errors import UserError, describe_error
from ssl_zoo.registry.family import Family


@dataclass(frozen=True)
class Entry:
    """A registered part: its name in recipes and the class or function that builds it."""

    kind: str
    name: str
    factory: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def version(self) -> int | None:
        """The version of what it computes, of kinds that have one: the class attribute `version`."""
        found = getattr(self.factory, "version", None)
        return found if type(found) is int else None


class PartFailed(UserError):
    """A part that cannot be built, or that does not keep its contract."""


def family_of(entry: Entry) -> type[Family] | None:
    """Return the family that an entry stands for, where its members have options of their own."""
    return entry.factory if inspect.isclass(entry.factory) and issubclass(entry.factory, Family) else None


def parameters(factory: Callable[..., Any], kind: Any) -> list[inspect.Parameter]:
    """Return the parameters of a part of one kind of `inspect.Parameter`, such as `KEYWORD_ONLY`."""
    return [p for p in inspect.signature(factory).parameters.values() if p.kind is kind]


@cache
def options(entry: Entry) -> type[BaseModel]:
    """Return the pydantic model of a part's options: its keyword-only parameters, with their types and defaults.

    Raises:
        PartFailed: the signature has what pydantic cannot read, such as a type that is not known in its module.
    """
    try:
        return _model_of_options(entry)
    except Exception as error:
        raise PartFailed(
            f"{entry.kind} {entry.name!r}: its options cannot be read: {describe_error(error)}."
        ) from error


def fields(entry: Entry) -> dict[str, tuple[Any, Any]]:
    """Return the keyword-only parameters of a part as {name: (annotation, default)}; `...` is no default."""
    factory = entry.factory
    hints = typing.get_type_hints(factory.__init__ if inspect.isclass(factory) else factory, include_extras=True)
    found: dict[str, tuple[Any, Any]] = {}
    for parameter in parameters(factory, inspect.Parameter.KEYWORD_ONLY):
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        found[parameter.name] = (hints.get(parameter.name, Any), default)
    return found


def _model_of_options(entry: Entry) -> type[BaseModel]:
    extra: Literal["allow", "forbid"] = "allow" if family_of(entry) else "forbid"  # each member has its own options
    config = ConfigDict(extra=extra, frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    name, doc = f"{entry.kind}_{entry.name}", inspect.getdoc(entry.factory)
    found: dict[str, Any] = fields(entry)
    return create_model(name, __config__=config, __doc__=doc, **found)
