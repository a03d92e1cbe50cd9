"""Recipes for samples that are mappings: whether their sections agree on the members, and the options of decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ssl_zoo import registry
from ssl_zoo.data.readers import gives_either, gives_members
from ssl_zoo.errors import suggest
from ssl_zoo.recipe.part import FOR_ALL, AnyPart, PerMember
from ssl_zoo.registry import explain_option


def check_members(views: AnyPart, encoder: AnyPart, options: Mapping[str, Any]) -> None:
    """Make sure that parts which are given per member name exactly the members of the views.

    Args:
        views: of the recipe.
        encoder: of the recipe.
        options: of its kind of method.

    Raises:
        ValueError: they do not.
    """
    members: tuple[str, ...] = ()
    if isinstance(views, PerMember):
        members = views.members
        if len(members) < 2:
            raise ValueError(
                "views: are given per member, and need a policy for each of two members or more, {MEMBER: NAME, "
                "MEMBER: NAME}; for samples of one modality write views: NAME."
            )
    for key, part in {"encoder": encoder, **options}.items():
        if isinstance(part, PerMember):
            check_keys(key, part, members)


def check_keys(key: str, part: PerMember, members: tuple[str, ...]) -> None:
    """Make sure that a part which is given per member names exactly the members of the views.

    Args:
        key: where it is written, for messages.
        part: from a recipe.
        members: of the views; none where they are of one modality.

    Raises:
        ValueError: it does not.
    """
    if not members:
        raise ValueError(
            f"{key}: is given per member ({', '.join(part.parts)}), but the views are of one modality; write views per "
            f"member too, or {key}: NAME."
        )
    if not part.members:
        if "per_direction" in part.parts and key != "predictor":
            raise ValueError(f"{key}: only a predictor can be given per_direction; write {key}: {{each: ...}}.")
        return
    for name in part.members:
        if name not in members:
            raise ValueError(f"{key}.{name}: the views have no such member{suggest(name, (*members, *FOR_ALL))}")
    for name in members:
        if name not in part.parts:
            raise ValueError(f"{key}: has no part for the member {name!r} of the views; add {name}: NAME.")


def check_source(name: str, members: tuple[str, ...], key: str = "data.source") -> None:
    """Make sure that a source gives samples that are mappings where the views are given per member, and only there.

    Args:
        name: of the source.
        members: of the views.
        key: where the source is written, for messages.

    Raises:
        ValueError: it does not.
    """
    entries = registry.entries("source")
    theirs = ", ".join(entry.name for entry in entries if gives_members(entry.factory))
    factory = registry.find("source", name)[0].factory
    if gives_either(factory):
        return
    pairs = gives_members(factory)
    if members and not pairs:
        raise ValueError(
            f"{key}: {name!r} gives samples of one modality, but the views ask for the members "
            f"{', '.join(members)}; sources of such samples are {theirs}."
        )
    if pairs and not members:
        raise ValueError(
            f"{key}: {name!r} gives samples of several members, but the views are of one modality; write views "
            "per member, {MEMBER: NAME, MEMBER: NAME}, or name another source."
        )


def decoding(modality: str, given: Mapping[str, Any], key: str = "data.decode") -> dict[str, Any]:
    """Return the options of a modality's decoding, complete.

    Args:
        modality: its name.
        given: some of its options.
        key: where they are written, for messages.

    Raises:
        ValueError: an unknown or invalid one.
    """
    if modality not in registry.names("modality"):
        if given:
            raise ValueError(f"{key}: the modality {modality!r} has no options; leave it out.")
        return {}
    try:
        return registry.validate("modality", modality, given).model_dump(mode="json")
    except ValidationError as error:
        raise ValueError(f"{key}.{explain_option(error, 'modality', modality)}") from None


def decoding_of_members(modalities: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the decoding of each member, complete.

    Args:
        modalities: {member: modality}.
        given: {member: some options}.

    Raises:
        ValueError: an unknown member, or an unknown or invalid option.
    """
    for name, options in given.items():
        if name not in modalities:
            raise ValueError(f"data.decode.{name}: the views have no such member{suggest(name, modalities)}")
        if not isinstance(options, Mapping):
            raise ValueError(f"data.decode.{name}: is written as {{OPTION: VALUE}}, not {options!r}.")
    return {
        member: decoding(modality, given.get(member, {}), f"data.decode.{member}")
        for member, modality in modalities.items()
    }
