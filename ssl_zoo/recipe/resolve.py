"""From what a user types after `--data` to the part of a recipe that names a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.open import build_source
from ssl_zoo.data.paired import PairedModality
from ssl_zoo.data.readers import (
    joining_source,
    reader,
    reader_of_address,
    reader_of_members,
    readers,
    readers_of_members,
    reads_paths,
    stands_for_several,
)
from ssl_zoo.data.source import Modality, Source
from ssl_zoo.errors import UserError, suggest
from ssl_zoo.recipe.encoded import Encoded
from ssl_zoo.recipe.part import AnyPart, PerMember


def resolve(text: str, modality: str | Mapping[str, str]) -> dict[str, str]:
    """Return the source that a text means, as a recipe writes it.

    Args:
        text: a registered name (`digits`, `torchvision/CIFAR10`), or the path of a file or folder, or an address
            (`https://HOST/SHARDS`), for which the source that recognises it is found. A name wins over a path
            (`./digits` is that), unless it is of a source that needs one.
        modality: of the recipe's views. Sources of another one are not asked. Of samples that are mappings,
            {member: modality}.

    Returns:
        `{"name": ...}`, with `"path"` for a path.

    Raises:
        UserError: neither a name nor a path, or a path that no source reads.
    """
    path = Path(text).expanduser()
    names = registry.names("source")
    family = any(name.endswith("/*") and text.startswith(name[:-1]) for name in names)
    if (text in names and not (reads_paths(text) and path.exists())) or (family and not path.exists()):
        registry.find("source", text)
        return {"name": text}
    if (found := reader_of_address(text, modality)) is not None:
        return {"name": found, "path": text}
    if not path.exists() and not stands_for_several(text):
        raise UserError(f"--data {text}: no such file or folder, and no source of that name{suggest(text, names)}")
    if isinstance(modality, Mapping):
        found = reader_of_members(path, {member: modality_class(name) for member, name in modality.items()})
        known, what = readers_of_members(), f"pairs of {_listed(modality)}"
    else:
        found, known = reader(path, modality_class(modality), modality), readers(modality)
        what = f"data of the modality {modality!r}"
    if found is not None:
        return {"name": found, "path": str(path)}
    raise UserError(f"--data {text}: no source reads it as {what}; those that read paths are: {', '.join(known)}.")


def resolve_all(value: Any, modality: str | Mapping[str, str]) -> Any:
    """Return the source that a text or several texts mean; what is a source already is returned as it is.

    Args:
        value: a text as in `resolve`; a list of these and of sources, which are put together; or a source, of which the
            list `sources` may hold texts.
        modality: as in `resolve`.

    Raises:
        UserError: as `resolve`.
    """
    if isinstance(value, str):
        return resolve(value, modality)
    if isinstance(value, list) and value:
        found = [resolve_all(each, modality) for each in value]
        return found[0] if len(found) == 1 else {"name": joining_source(), "sources": found}
    if isinstance(value, dict) and isinstance(value.get("sources"), list):
        return {**value, "sources": [resolve_all(each, modality) for each in value["sources"]]}
    return value


def same_options(before: Any, now: Any) -> Any:
    """Return a source with the options that it had at another place, where it is of the same kind.

    Args:
        before: the source of a recipe, or a list of sources.
        now: the source that a text means, or a list of them.
    """
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [same_options(*each) for each in zip(before, now, strict=True)]
    if not (isinstance(before, dict) and isinstance(now, dict)) or before.get("name") != now.get("name"):
        return now
    return {**before, **{key: same_options(before.get(key), value) for key, value in now.items()}}


def _listed(members: Mapping[str, str]) -> str:
    each = [member if member == name else f"{member} ({name})" for member, name in members.items()]
    return " and ".join([", ".join(each[:-1]), each[-1]] if len(each) > 1 else each)


def modality_class(name: str) -> type[Modality]:
    """Return the registered modality of a name; views of an unregistered one are of plain tensors."""
    if name not in registry.names("modality"):
        return Modality
    found: Any = registry.find("modality", name)[0].factory
    return found


def modalities_of(views: AnyPart) -> dict[str, str]:
    """Return {member: modality} of views that are given per member; empty for the views of one modality."""
    return (
        {member: modality_of(part.name) for member, part in views.parts.items()} if isinstance(views, PerMember) else {}
    )


def modality_of(views: str) -> str:
    """Return the modality that a registered view policy makes views of.

    Raises:
        UserError: there is no such policy, or it does not state its modality.
    """
    stated = getattr(registry.find("views", views)[0].factory, "modality", None)
    if not isinstance(stated, str):
        raise registry.PartFailed(f"views {views!r}: must have the class attribute modality, a word.")
    return stated


TRIES = 20
"""Samples that are tried to find their channels."""

MANY_MORE = 10
"""A modality with so many times the samples of any other is the one that is meant: images beside a `README.txt`."""

CHANNELS = 3
"""Channels that samples are read with, where nobody states them and they are converted: RGB."""


def open_source(
    text: str, overrides: Sequence[str], channels: int | None, modality: str | None = None
) -> tuple[Source, Modality]:
    """Open a source without a recipe: what `ssl-zoo data check` and `data stats` call.

    Args:
        text: as in `resolve`.
        overrides: KEY=VALUE on `data.source` and `data.decode`.
        channels: that samples are read with; None takes those of the first sample where its modality does not convert
            them, and else 3.
        modality: of the data; None takes the one modality that reads files, or the one of the source.

    Raises:
        UserError: another override, data that cannot be read, or a modality that is not clear.
    """
    name = modality if modality is not None else _only_modality(text)
    known, source, decode = _asked(text, overrides, name)
    kind = _modality(name, decode, CHANNELS if channels is None else channels)
    converts = type(kind).stored_channels is Modality.stored_channels
    if channels is None and "path" in source and not converts:
        found = _stored_channels(known, source, kind)
        kind = kind if found is None else _modality(name, decode, found)
    return build_source(known, source, kind), kind


def open_encoded(
    text: str, overrides: Sequence[str], modality: str | None = None, channels: int = CHANNELS
) -> tuple[Source, Modality]:
    """Open a source whose samples are left as they are stored: what `ssl-zoo data shard` calls.

    Args:
        text: as in `resolve`.
        overrides: as in `open_source`.
        modality: as in `open_source`; of samples that are mappings the modality of each member, with a comma between:
            `image,text`, or `left=image,right=image` where members have names of their own.
        channels: of samples that a source makes, and that are stored nowhere.

    Returns:
        The source, and the modality that its samples are decoded by elsewhere.

    Raises:
        UserError: as `open_source`.
    """
    name = modality if modality is not None else _only_modality(text)
    members = _members(name)
    if not members:
        known, source, decode = _asked(text, overrides, name)
        kind = _modality(name, decode, channels)
        return build_source(known, source, Encoded(kind)), kind
    known, source, decode = _asked(text, overrides, members)
    each = {member: _modality(of, decode.get(member, {}), channels) for member, of in members.items()}
    views = tuple(view for of in each.values() for view in of.spec.views)
    spec = InputSpec(" + ".join(each), views, members=tuple((member, of.spec) for member, of in each.items()))
    stored = PairedModality(spec, {member: Encoded(of) for member, of in each.items()})
    return build_source(known, source, stored), PairedModality(spec, each)


def _members(text: str) -> dict[str, str]:
    """Return {member: modality} of a text with commas; empty for the name of one modality.

    Raises:
        UserError: a member twice, or a modality that is not registered.
    """
    if "," not in text and "=" not in text:
        return {}
    members: dict[str, str] = {}
    for part in text.split(","):
        member, _, of = part.strip().partition("=")
        if member in members or not member:
            raise UserError(f"--modality {text}: names {member!r} twice; write MEMBER=MODALITY,MEMBER=MODALITY.")
        members[member] = of or member
    known = registry.names("modality")
    for of in members.values():
        if of not in known:
            raise UserError(f"--modality {text}: there is no modality {of!r}{suggest(of, known)}")
    return members


def _asked(
    text: str, overrides: Sequence[str], modality: str | Mapping[str, str]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the name of a source, its options, and those of the decoding.

    Raises:
        UserError: there is no such source, or an override is of something else.
    """
    from ssl_zoo.recipe.overrides import split

    options: dict[str, dict[str, Any]] = {"source": {**resolve(text, modality)}, "decode": {}}
    for override in overrides:
        key, value = split(override)
        section, _, option = key.removeprefix("data.").partition(".")
        if not key.startswith("data.") or section not in options or not option or "." in option:
            raise UserError(
                f"-s {override}: without a recipe, only options of data.source and data.decode are taken: "
                "-s data.source.OPTION=VALUE."
            )
        options[section][option] = value
    return options["source"].pop("name"), options["source"], options["decode"]


def _modality(name: str, options: dict[str, Any], channels: int) -> Modality:
    spec = InputSpec(name, (ViewSpec("global", (channels,)),))
    kind: Modality = registry.build("modality", name, options, spec=spec)
    return kind


def _stored_channels(source: str, options: dict[str, Any], kind: Modality) -> int | None:
    """Return the channels of the first sample that can be read, where its modality does not convert them.

    Raises:
        UserError: there are only files that are read with the right channels alone, and they do not tell them.
    """
    only_more = False
    try:
        split = build_source(source, options, Encoded(kind, more=False)).split("train")
    except UserError:
        only_more = True
        split = build_source(source, options, Encoded(kind)).split("train")
    for i in range(min(len(split), TRIES)):
        try:
            return kind.stored_channels(split.read(i), split.name(i))
        except BadSample as error:
            if only_more:
                raise UserError(f"{str(error).rstrip('.')}; give --channels.") from None
    return None


def _only_modality(text: str) -> str:
    """Return the modality of a source, or of files."""
    if text in registry.names("source"):
        stated = getattr(registry.find("source", text)[0].factory, "modality", None)
        if stated is not None:
            return stated
    reads = [name for name in registry.names("modality") if modality_class(name).extensions]
    if len(reads) == 1:
        return reads[0]
    able = {name: num for name in reads if (num := _num_samples(text, name))}
    most = max(able, key=lambda name: able[name], default="")
    if most and all(MANY_MORE * num <= able[most] for name, num in able.items() if name != most):
        return most
    if not able:
        resolve(text, reads[0])  # where there is no such path, it says so
        raise UserError(f"no modality reads {text}; those that read files are {', '.join(reads)}.")
    raise UserError(f"several modalities read {text} ({', '.join(able)}); give --modality.")


def _num_samples(text: str, name: str) -> int:
    """Return how many samples of a modality there are in what a text means; files are listed, and not read."""
    try:
        part = {**resolve(text, name)}
        source = build_source(part.pop("name"), part, Encoded(_modality(name, {}, CHANNELS)))
        return sum(len(source.split(each)) for each in source.splits)
    except UserError:
        return 0
