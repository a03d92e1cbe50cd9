"""Parts of a recipe as types: a field of type `Head` takes the name of a head, or `{name: ..., option: ...}`.

The options of a part are checked against its signature and filled in with its defaults. A kind of method declares its
parts with these types, as the options of its registered function.
"""

from __future__ import annotations

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

from ssl_zoo import registry
from ssl_zoo.errors import short
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


def default_part(kind: str, name: str) -> Any:
    """Return a part at its defaults, for a field's `default_factory`."""
    return resolve_part(kind, Part, name)


def default(kind: str, name: str) -> Any:
    """Return the default of an option that is a part: the part of that name, at its own defaults."""
    return Field(default_factory=partial(default_part, kind, name), json_schema_extra={"default": name})


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, (str, dict)) else value


def _part(kind: str, cls: type[Part] = Part) -> tuple[Any, ...]:
    # The JSON schema has a mark, `{"part": kind}`, which `json_schema` replaces by the registered parts.
    return (
        BeforeValidator(partial(resolve_part, kind, cls)),
        PlainSerializer(lambda part: part.plain()),
        WithJsonSchema({"part": kind}),
    )


def _list_schema(kind: str, least: int) -> WithJsonSchema:
    listed = {"type": "array", "items": {"part": kind}, **({"minItems": least} if least else {})}
    return WithJsonSchema({"anyOf": [listed, {"part": kind}]})


Encoder = Annotated[Part, *_part("encoder")]
Head = Annotated[Part, *_part("head")]
Target = Annotated[Part, *_part("target")]
Pairing = Annotated[Part, *_part("pairing")]
Term = Annotated[WeightedPart, *_part("term", WeightedPart)]
Views = Annotated[Part, *_part("views")]
Source = Annotated[Part, *_part("source")]
Protocol = Annotated[Part, *_part("protocol")]
Optimizer = Annotated[Part, *_part("optimizer")]
Schedule = Annotated[Part, *_part("schedule")]
Strategy = Annotated[Part, *_part("strategy")]

Terms = Annotated[tuple[Term, ...], Field(min_length=1), BeforeValidator(_in_a_list), _list_schema("term", 1)]
"""A list of terms; a single one may stand for the list of it alone."""

Protocols = Annotated[tuple[Protocol, ...], BeforeValidator(_in_a_list), _list_schema("protocol", 0)]
"""A list of protocols; a single one may stand for the list of it alone."""
