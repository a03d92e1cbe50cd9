"""Parts of a recipe as types: a field of type `Head` takes the name of a head, or `{name: ..., option: ...}`.

The options of a part are checked against its signature and filled in with its defaults. A kind of method declares its
parts with these types, as the options of its registered function.

Where samples are mappings of named members, encoder, heads and views may be written per member:
`encoder: {image: resnet18, text: {name: bag_of_words, dim: 64}}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from torch import nn

from ssl_zoo import registry
from ssl_zoo.errors import UserError, short
from ssl_zoo.registry import explain_option


class Frozen(BaseModel):
    """Base of every section of a recipe: no unknown keys, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Part(Frozen):
    """A part of a recipe: its registered name and all its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return the YAML form, `{name: ..., option: ...}`."""
        return {"name": self.name, **self.options}


class WeightedPart(Part):
    """A term of an objective: a part with a weight."""

    weight: float = 1.0

    def plain(self) -> dict[str, Any]:
        """Return the YAML form, `{name: ..., weight: ..., option: ...}`."""
        return {"name": self.name, "weight": self.weight, **self.options}


class PerMember(Frozen):
    """A part for each member of samples that are mappings, `{image: resnet18, text: bag_of_words}`.

    Two keys are no members: `each` is one module of its own per member, at the same options, and `per_direction`, of a
    predictor, one for each ordered pair of members.

    Attributes:
        parts: {member, `each` or `per_direction`: its part}.
    """

    parts: dict[str, Part]

    @property
    def name(self) -> str:
        """The names of the parts, for messages and titles: `image: resnet18, text: bag_of_words`."""
        return ", ".join(f"{member}: {part.name}" for member, part in self.parts.items())

    @property
    def members(self) -> tuple[str, ...]:
        """The members that it names; none where it has `each` or `per_direction`."""
        return tuple(key for key in self.parts if key not in FOR_ALL)

    def of(self, member: str) -> Part:
        """Return the part of a member: its own, or that of each."""
        return self.parts[member] if member in self.parts else self.parts["each"]

    def plain(self) -> dict[str, Any]:
        """Return the YAML form, `{member: {name: ..., option: ...}}`."""
        return {member: part.plain() for member, part in self.parts.items()}


FOR_ALL = ("each", "per_direction")
"""Keys of a `PerMember` that stand for all members."""

PER_MEMBER = ("encoder", "head", "views")
"""Kinds of part that a recipe may give per member."""

AnyPart = Part | PerMember


@dataclass(frozen=True)
class OfKind:
    """A mark on the type of a field: the kind of its part."""

    kind: str


def resolve_part(kind: str, cls: type[Part], value: Any) -> Any:
    """Turn `name` or `{name: ..., option: ...}` into a Part whose options are checked and complete.

    Raises:
        ValueError: it is neither, or names what is not there.
    """
    if isinstance(value, Part):
        return value
    given = {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else None
    if given is None or not isinstance(given.get("name"), str):
        raise ValueError(f"is written as NAME or {{name: NAME, ...}}, not {short(value)}")
    name = given.pop("name")
    fields = set(cls.model_fields) - {"name", "options"}
    own = {key: given.pop(key) for key in list(given) if key in fields}
    try:
        options = registry.validate(kind, name, given).model_dump()
    except ValidationError as error:
        raise ValueError(explain_option(error, kind, name, fields)) from None
    return cls(name=name, options=options, **own)


def resolve_members(kind: str, value: Any) -> Any:
    """Turn a part, or a mapping of members to parts, into a `Part` or a `PerMember`.

    Raises:
        ValueError: it is neither, or names what is not there.
    """
    if isinstance(value, PerMember):
        return value
    if not isinstance(value, dict) or "name" in value:
        return resolve_part(kind, Part, value)
    if not value or not all(isinstance(part, (str, dict, Part)) for part in value.values()):
        raise ValueError(
            f"is written as NAME or {{name: NAME, ...}}, or as one of these per member, {{MEMBER: NAME, ...}}, not "
            f"{short(value)}"
        )
    if len(value) > 1 and (alone := [key for key in FOR_ALL if key in value]):
        raise ValueError(f"{alone[0]} stands for all members, so it stands alone; write it, or a part per member")
    parts = {}
    for member, part in value.items():
        if member not in FOR_ALL:
            check_member(member)
        try:
            parts[member] = resolve_part(kind, Part, part)
        except UserError as error:
            raise ValueError(f"{member}: {error}") from None
        except ValueError as error:
            raise ValueError(f"{member}{_joint(str(error))}{error}") from None
    return PerMember(parts=parts)


def _joint(message: str) -> str:
    """Return what stands between a member and a message, which may begin with a key below it."""
    head, colon, _ = message.partition(": ")
    return "." if colon and all(piece.isidentifier() or piece.isdigit() for piece in head.split(".")) else ": "


def check_member(name: Any) -> None:
    """Make sure that a word can be the name of a member.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
        raise ValueError(f"{short(name)} is no name of a member: use lower-case letters, digits and _")
    if name in ("name", "training") or hasattr(nn.ModuleDict, name):  # where the modules of members are kept
        raise ValueError(f"{name!r} cannot be the name of a member: it means something else; take another word")


def check_data_name(name: str) -> None:
    """Make sure that a word can be the name of a data set beside the run's own, such as in `cifar/knn`.

    Raises:
        ValueError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) or name == "name":
        raise ValueError(f"data: {short(name)} is no name of a data set: use letters, digits, - and _")


def default_part(kind: str, name: str) -> Any:
    """Return a part at its defaults, for a field's `default_factory`."""
    return resolve_part(kind, Part, name)


def default(kind: str, name: str) -> Any:
    """Return the default of an option that is a part: the part of that name, at its own defaults."""
    return Field(default_factory=partial(default_part, kind, name), json_schema_extra={"default": name})


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, (str, dict)) else value


def _part(kind: str, cls: type[Part] = Part) -> tuple[Any, ...]:
    # The JSON schema has a mark, `{"part": kind}` or `{"per_member": kind}`, for which `json_schema` puts the parts in.
    per_member = kind in PER_MEMBER
    return (
        BeforeValidator(partial(resolve_members, kind) if per_member else partial(resolve_part, kind, cls)),
        PlainSerializer(lambda part: part.plain()),
        WithJsonSchema({"per_member" if per_member else "part": kind}),
        OfKind(kind),
    )


def _list_schema(kind: str, least: int) -> WithJsonSchema:
    listed = {"type": "array", "items": {"part": kind}, **({"minItems": least} if least else {})}
    return WithJsonSchema({"anyOf": [listed, {"part": kind}]})


Encoder = Annotated[AnyPart, *_part("encoder")]
Head = Annotated[AnyPart, *_part("head")]
Target = Annotated[Part, *_part("target")]
Pairing = Annotated[Part, *_part("pairing")]
Term = Annotated[WeightedPart, *_part("term", WeightedPart)]
Views = Annotated[AnyPart, *_part("views")]
Source = Annotated[Part, *_part("source")]
Protocol = Annotated[Part, *_part("protocol")]
Optimizer = Annotated[Part, *_part("optimizer")]
Schedule = Annotated[Part, *_part("schedule")]
Strategy = Annotated[Part, *_part("strategy")]

Terms = Annotated[tuple[Term, ...], Field(min_length=1), BeforeValidator(_in_a_list), _list_schema("term", 1)]
"""A list of terms; a single one may stand for the list of it alone."""

Protocols = Annotated[tuple[Protocol, ...], BeforeValidator(_in_a_list), _list_schema("protocol", 0)]
"""A list of protocols; a single one may stand for the list of it alone."""
