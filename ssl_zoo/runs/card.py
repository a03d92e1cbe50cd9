"""The card of an encoder, `encoder.json`: what it is built from, and the views that it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import make_product
from ssl_zoo.recipe.members import check_keys
from ssl_zoo.recipe.part import PerMember, resolve_members

LARGEST_CARD = 2**16
"""Bytes; a card has about a thousand."""


class ViewInput(BaseModel):
    """One view in a card."""

    model_config = ConfigDict(strict=True)
    role: str
    shape: list[Annotated[int, Field(ge=1)]]
    is_target: bool
    dtype: Literal["float32", "int64"] = "float32"


class Input(BaseModel):
    """Input of an encoder in a card: an `InputSpec`."""

    model_config = ConfigDict(strict=True)
    modality: str
    views: Annotated[list[ViewInput], Field(min_length=1)]
    mean: list[float] | None
    std: list[float] | None
    vocabulary: int | None = None
    members: dict[str, Input] = {}

    @property
    def spec(self) -> InputSpec:
        """The same as an `InputSpec`."""
        views = tuple(
            ViewSpec(view.role, tuple(view.shape), view.is_target, getattr(torch, view.dtype)) for view in self.views
        )
        mean, std = (None if each is None else tuple(each) for each in (self.mean, self.std))
        members = tuple((name, member.spec) for name, member in self.members.items())
        return InputSpec(self.modality, views, mean, std, self.vocabulary, members)


def input_of(spec: InputSpec) -> dict[str, Any]:
    """Return a spec as a card has it, what is as usual left out."""
    views: list[dict[str, Any]] = []
    for view in spec.views:
        dtype = {} if view.dtype == torch.float32 else {"dtype": str(view.dtype).removeprefix("torch.")}
        views.append({"role": view.role, "shape": view.shape, "is_target": view.is_target, **dtype})
    members = {name: input_of(member) for name, member in spec.members}
    return {
        "modality": spec.modality, "views": views, "mean": spec.mean, "std": spec.std,
        **({} if spec.vocabulary is None else {"vocabulary": spec.vocabulary}),
        **({"members": members} if members else {}),
    }  # fmt: skip


class Card(BaseModel):
    """The part of a card that is read; the rest is for people."""

    model_config = ConfigDict(strict=True)
    encoder: dict[str, Any]
    input: Input
    projector: dict[str, Any] | None = None
    predictor: dict[str, Any] | None = None
    sha256: str | None = None  # cards had none at first
    views: dict[str, Any] | None = None
    decode: dict[str, Any] | None = None  # nor this
    library: str | None = None

    @property
    def spec(self) -> InputSpec:
        """The views that the encoder was built for."""
        return self.input.spec

    @property
    def names(self) -> list[tuple[str, Any]]:
        """(kind, name) of each part."""
        each = [("encoder", self.encoder), ("head", self.projector), ("head", self.predictor)]
        return [(kind, one.get("name")) for kind, part in each if part is not None for one in _parts(part)]

    def build(self) -> nn.Module:
        """Return the product, untrained.

        Raises:
            UserError: it has parts that cannot be built.
        """
        if not self.input.members:
            part = dict(self.encoder)
            return registry.build("encoder", part.pop("name"), part, spec=self.spec)
        parts = {"encoder": self.encoder, "projector": self.projector, "predictor": self.predictor}
        try:
            made = {
                key: resolve_members("encoder" if key == "encoder" else "head", part) for key, part in parts.items()
            }
            for key, part in made.items():
                if isinstance(part, PerMember):
                    check_keys(key, part, tuple(self.input.members))
        except ValueError as error:
            raise UserError(f"encoder.json: {str(error).rstrip('.')}.") from None
        return make_product(**made, spec=self.spec)


def _parts(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a part alone, or the parts of the members."""
    if "name" in part:
        return [part]
    return [each if isinstance(each, Mapping) else {} for each in part.values()] or [{}]


def read_card(path: Path) -> Card:
    """Read what `load_encoder` needs of a card.

    Raises:
        UserError: it is not the card of an encoder.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_CARD + 1)
        if len(text) > LARGEST_CARD:
            raise UserError(f"{path}: is not the card of an encoder of ssl_zoo: it has more than {LARGEST_CARD} bytes.")
        card = Card.model_validate(json.loads(text))
        if not all(isinstance(name, str) for _, name in card.names):
            raise ValueError
        if card.input.members and (card.projector is None or card.predictor is None):
            raise ValueError
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    except UserError:
        raise
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "content"
        raise UserError(
            f"{path}: is not the card of an encoder of ssl_zoo: its {where} is missing or of another kind."
        ) from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is not the card of an encoder of ssl_zoo.") from None
    return card
