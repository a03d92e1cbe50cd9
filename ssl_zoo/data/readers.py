"""Which source reads a path: found among the registered ones, by what each of them recognises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_zoo import registry
from ssl_zoo.data.source import Modality


def readers(modality: str) -> dict[str, Any]:
    """Return the registered sources that read paths as data of a modality, {name: class}."""
    return {
        entry.name: entry.factory
        for entry in registry.entries("source")
        if hasattr(entry.factory, "matches")
        and not gives_members(entry.factory)
        and getattr(entry.factory, "modality", modality) == modality
    }


def reader(path: Path, kind: type[Modality], modality: str) -> str | None:
    """Return the name of the source that reads a path as data of a modality, or None.

    Args:
        path: of a file or a folder.
        kind: the modality's class.
        modality: its registered name.
    """
    return next((name for name, source in readers(modality).items() if source.matches(path, kind)), None)


def stands_for_several(text: str) -> bool:
    """Return whether a source takes a text for the paths of several files: its `stands_for_several` says so."""
    kinds = (entry.factory for entry in registry.entries("source"))
    return any(kind.stands_for_several(text) for kind in kinds if hasattr(kind, "stands_for_several"))


def reads_paths(name: str) -> bool:
    """Return whether a registered source reads paths, so that its name alone names no data."""
    return hasattr(registry.find("source", name)[0].factory, "matches")


def reader_of_address(text: str, modality: str | Mapping[str, str]) -> str | None:
    """Return the name of the source that reads an address, or None: its `takes_address`.

    Args:
        text: the address.
        modality: of the samples; of those that are mappings, {member: modality}.
    """
    found = (readers(modality) if isinstance(modality, str) else readers_of_members()).items()
    return next(
        (name for name, source in found if hasattr(source, "takes_address") and source.takes_address(text)), None
    )


def readers_of_members() -> dict[str, Any]:
    """Return the registered sources that read paths as samples that are mappings, {name: class}.

    Those that give samples of one modality as well, as is asked for, come first.
    """
    found = [(each.name, each.factory) for each in registry.entries("source") if hasattr(each.factory, "matches")]
    either = {name: factory for name, factory in found if gives_either(factory)}
    return either | {name: factory for name, factory in found if gives_members(factory)}


def reader_of_members(path: Path, kinds: Mapping[str, type[Modality]]) -> str | None:
    """Return the name of the source that reads a path as samples that are mappings, {member: modality}, or None."""
    return next((name for name, source in readers_of_members().items() if source.matches(path, kinds)), None)


def python_source() -> str:
    """Return the name of the source of data that are given as Python objects: its class has `takes_objects = True`."""
    return next(e.name for e in registry.entries("source") if getattr(e.factory, "takes_objects", False))


def joining_source() -> str:
    """Return the name of the source that puts others together: its class has `joins = True`."""
    return next(e.name for e in registry.entries("source") if getattr(e.factory, "joins", False))


def places_of(source: str) -> tuple[str, ...]:
    """Return the options of a source that say where data are, and not which: its attribute `places`, or `path`."""
    found: tuple[str, ...] = getattr(registry.find("source", source)[0].factory, "places", ("path",))
    return found


def gives_members(factory: Any) -> bool:
    """Return whether a source gives samples that are mappings: its class has `gives_members = True`."""
    return bool(getattr(factory, "gives_members", False))


def gives_either(factory: Any) -> bool:
    """Return whether a source gives samples of one modality or mappings, as is asked for: `gives_members = None`."""
    return getattr(factory, "gives_members", False) is None
