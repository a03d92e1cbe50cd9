"""The registry: a name for every part, and the schema of its options.

A part is a plain class or function. Its positional parameters come from the framework, by name (an input width, the
online branch); its keyword-only parameters are the options that a recipe may set, and their schema is read from the
signature, so a component is one file and nothing else needs editing. Parts are found by walking the package of their
kind; third parties add theirs by the entry-point group `ssl_zoo` or by `--import my_pkg`.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from ssl_zoo.errors import NO_KEY, UserError, describe_error, first_problem, known_keys, suggest
from ssl_zoo.registry.entry import Entry as Entry
from ssl_zoo.registry.entry import PartFailed as PartFailed
from ssl_zoo.registry.entry import family_of as family_of
from ssl_zoo.registry.entry import fields as fields
from ssl_zoo.registry.entry import options as options
from ssl_zoo.registry.entry import parameters
from ssl_zoo.registry.family import Family

_LOG = logging.getLogger("ssl_zoo")

PACKAGES = {
    "method": ("ssl_zoo.methods",),
    "modality": ("ssl_zoo.modalities",),
    "encoder": ("ssl_zoo.modalities",),
    "views": ("ssl_zoo.modalities",),
    "source": ("ssl_zoo.data.sources", "ssl_zoo.modalities"),
    "head": ("ssl_zoo.heads",),
    "target": ("ssl_zoo.targets",),
    "pairing": ("ssl_zoo.pairing",),
    "term": ("ssl_zoo.objectives",),
    "optimizer": ("ssl_zoo.optim",),
    "schedule": ("ssl_zoo.optim",),
    "protocol": ("ssl_zoo.evaluation.protocols",),
    "strategy": ("ssl_zoo.distributed",),
}
"""Every kind of part, and the packages that are walked to find its members."""


_ENTRIES: dict[str, dict[str, Entry]] = {kind: {} for kind in PACKAGES}
_MISSING_PLUGINS: list[str] = []


def register(kind: str, name: str) -> Callable[[Any], Any]:
    """Register a class or function as part `name` of `kind` (decorator).

    Args:
        kind: one of `PACKAGES`.
        name: of the part in recipes. A name that ends in `/*` stands for a family: `timm/*` builds `timm/resnet18`, and
            the part's positional parameter `model` receives the rest of the name. Where the members have options of
            their own, it is a `Family`.

    A class or function of the same module and name replaces its older version, so that a notebook's cell can run again.

    Raises:
        UserError: the kind does not exist, or the name is taken.
    """
    if kind not in _ENTRIES:
        raise UserError(f"unknown kind of part {kind!r}{suggest(kind, _ENTRIES)}")

    def add(factory: Any) -> Any:
        if name in _ENTRIES[kind] and _home(_ENTRIES[kind][name].factory) != _home(factory):
            other = _ENTRIES[kind][name].factory.__module__
            raise UserError(
                f"{kind} {name!r} is registered twice, by {other} and by {factory.__module__}; rename one of them."
            )
        _ENTRIES[kind][name] = Entry(kind, name, factory)
        return factory

    return add


def _home(factory: Any) -> tuple[str | None, str | None]:
    return getattr(factory, "__module__", None), getattr(factory, "__qualname__", None)


def import_user_module(module: str) -> None:
    """Import a user's module, so that the parts it registers are known.

    Raises:
        UserError: there is no such module, or it cannot be imported.
    """
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent is not None and (module == absent or module.startswith(absent + ".")):
            raise UserError(
                f"--import {module}: no module of that name on the Python path; run from its folder, or install it."
            ) from None
        raise UserError(f"--import {module}: cannot be imported: {describe_error(error)}.") from error


@cache
def _discover(package: str) -> None:
    root = importlib.import_module(package)
    for info in pkgutil.walk_packages(root.__path__, package + "."):
        importlib.import_module(info.name)
    _load_plugins()


@cache
def _load_plugins() -> None:
    for point in entry_points(group="ssl_zoo"):
        try:
            point.load()
        except Exception as error:  # a broken plug-in must not break this package
            _MISSING_PLUGINS.append(point.name)
            if os.environ.get("LOCAL_RANK", "0") == "0":
                _LOG.warning(
                    f"plug-in {point.name!r} ({point.value}) cannot be imported, and its parts are missing: "
                    f"{describe_error(error)}; fix or uninstall it."
                )


def names(kind: str, pattern: str = "*") -> list[str]:
    """Return the sorted names of the parts of a kind.

    Args:
        kind: one of `PACKAGES`.
        pattern: the names to return, with the wildcards `*`, `?` and `[...]`, such as `resnet*`.

    Raises:
        UserError: there is no such kind.
    """
    if kind not in PACKAGES:
        raise UserError(f"unknown kind of part {kind!r}{suggest(kind, PACKAGES)}")
    for package in PACKAGES[kind]:
        _discover(package)
    return sorted(name for name in _ENTRIES[kind] if fnmatchcase(name, pattern))


def members(kind: str) -> dict[str, str]:
    """Return {name: summary} of the parts of a kind, with the members of families that list them, sorted by name."""
    found = {}
    for entry in entries(kind):
        family = family_of(entry)
        listed = {entry.name: entry.summary} if family is None else family.members
        found.update({entry.name[:-1] + name if family else name: summary for name, summary in listed.items()})
    return dict(sorted(found.items()))


def _member(kind: str, name: str, family: type[Family], rest: str) -> Entry:
    if rest in family.refused:
        raise UserError(f"{kind} {name!r} cannot be used here: {family.refused[rest]}.")
    if rest not in family.members:
        hint = suggest(rest, family.members).partition(" Known: ")[0]
        raise UserError(f"unknown {kind} {name!r}{hint} `ssl-zoo list {kind} '{name.removesuffix(rest)}*'` names them.")
    return Entry(kind, name, family.member(rest))


def entries(kind: str, pattern: str = "*") -> list[Entry]:
    """Return the parts of a kind, sorted by name; see `names`."""
    return [_ENTRIES[kind][name] for name in names(kind, pattern)]


def find(kind: str, name: str) -> tuple[Entry, str]:
    """Return the entry for a name, and the part of the name that a family (`timm/*`) leaves open.

    Raises:
        UserError: there is no such part; the message names the nearest one.
    """
    known = names(kind)
    if name in known and not name.endswith("/*"):
        return _ENTRIES[kind][name], ""
    for family in (n for n in known if n.endswith("/*")):
        prefix = family[:-1]
        if name.startswith(prefix) and len(name) > len(prefix):
            entry, rest = _ENTRIES[kind][family], name[len(prefix) :]
            listed = family_of(entry)
            return (entry, rest) if listed is None else (_member(kind, name, listed, rest), "")
    missing = f" The plug-in {', '.join(_MISSING_PLUGINS)} could not be imported." if _MISSING_PLUGINS else ""
    near = suggest(name, known, f"ssl-zoo list {kind}")
    raise UserError(f"unknown {kind} {name!r}{near}. A part from a module of yours needs --import MODULE.{missing}")


def validate(kind: str, name: str, values: Mapping[str, Any]) -> BaseModel:
    """Return a part's options, validated and complete.

    Raises:
        UserError: unknown part.
        pydantic.ValidationError: an unknown option or a value that its type refuses.
    """
    entry, _ = find(kind, name)
    return options(entry).model_validate(dict(values))


def check(kind: str, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Validate a part's options and return all of them, defaults filled in.

    Raises:
        UserError: unknown part, unknown or invalid option.
    """
    return _chosen(kind, name, values).model_dump()


def _chosen(kind: str, name: str, values: Mapping[str, Any]) -> BaseModel:
    try:
        return validate(kind, name, values)
    except ValidationError as error:
        raise UserError(f"{kind} {name!r}: {explain_option(error, kind, name)}") from None


def explain_option(error: ValidationError, kind: str, name: str, also: Iterable[str] = ()) -> str:
    """Return the first problem of a part's options as `option: what is wrong`.

    Args:
        error: of pydantic.
        kind: of the part.
        name: of the part.
        also: keys of the part in a recipe that are not options, for suggestions.
    """
    mine = options(find(kind, name)[0])
    problem = error.errors()[0]
    text = first_problem(error, lambda path: [*known_keys(mine, path), *(() if path else also)])
    if problem["type"] not in NO_KEY or len(problem["loc"]) > 1:
        return text
    text = text.replace("unknown key", f"unknown key of {kind} {name!r}", 1)
    others = [e.name for e in entries(kind) if problem["loc"][0] in options(e).model_fields]
    return f"{text}; {', '.join(others)} would have it" if others else text


def build(kind: str, name: str, values: Mapping[str, Any] | None = None, **context: Any) -> Any:
    """Build a part: options from `values`, positional parameters from `context`, by name.

    Args:
        kind: the kind of part.
        name: its name, as in a recipe.
        values: its options; those left out take their defaults.
        **context: values of the framework (`in_dim`, `size`, `branch`, ...); a part receives those that it names.

    Raises:
        UserError: unknown part, unknown or invalid option.
        PartFailed: the part's own code raises.
    """
    entry, rest = find(kind, name)
    chosen = _chosen(kind, name, values or {})
    if rest:
        context = {**context, "model": rest}
    positional = []
    for parameter in parameters(entry.factory, inspect.Parameter.POSITIONAL_OR_KEYWORD):
        if parameter.name in context:
            positional.append(context[parameter.name])
        elif parameter.default is inspect.Parameter.empty:
            offered = ", ".join(sorted(context)) or "nothing"
            raise UserError(
                f"{kind} {name!r} asks for the positional parameter {parameter.name!r}; offered: {offered}; make it "
                "an option (keyword-only), or give it a default."
            )
        else:
            positional.append(parameter.default)
    try:
        return entry.factory(*positional, **{key: getattr(chosen, key) for key in type(chosen).model_fields})
    except (UserError, OSError):
        raise
    except Exception as error:
        raise PartFailed(f"{kind} {name!r}: cannot be built: {describe_error(error)}.") from error
