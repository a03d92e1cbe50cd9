"""What an encoder takes, made from its card: the view policy and the modality that prepare samples for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.data.files import read_regular
from ssl_zoo.data.source import Modality, Sample, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build_policy, make_modality
from ssl_zoo.recipe.load import read
from ssl_zoo.recipe.part import PerMember, resolve_members
from ssl_zoo.runs.card import Card
from ssl_zoo.runs.folder import RunFolder


@dataclass(frozen=True)
class Inputs:
    """What prepares samples for an encoder, or for that of a member.

    Attributes:
        policy: the view policy, whose plain views the encoder takes.
        modality: decodes files.
    """

    policy: ViewPolicy
    modality: Modality

    def sample(self, value: Any, number: int = 0) -> Sample:
        """Return the sample that an object is.

        Args:
            value: a path, whose file is decoded; encoded bytes; or what the modality takes as an item of a Python data
                set, such as pictures and tensors. A string is a path, but for modalities of text, whose samples
                strings are.
            number: of the object, for messages.

        Raises:
            BadSample: it cannot be read.
        """
        if isinstance(value, os.PathLike) or (isinstance(value, str) and not self.modality.reads_text):
            path = os.fspath(value)
            return self.modality.decode(read_regular(path, self.modality), path)
        return self.modality.from_item(value, f"sample {number}")


def inputs_of(card: Card, folder: Path, member: str | None = None) -> Inputs:
    """Return what prepares samples.

    Args:
        card: of the encoder.
        folder: that it lies in; a run's recipe has the options of the decoding, where the card is too old to have them.
        member: of samples that are mappings.

    Raises:
        UserError: the card does not say how, or names parts that are not there.
    """
    if card.views is None:
        raise UserError(f"{folder}: its card does not say how samples are prepared; put views through encoder.module.")
    try:
        part = resolve_members("views", card.views)
    except ValueError as error:
        raise UserError(f"{folder}: encoder.json: views: {str(error).rstrip('.')}.") from None
    decode = _decoding(card, folder)
    if isinstance(part, PerMember):
        if member is None or member not in part.parts:
            raise UserError(f"give member=, which of the members the samples are of: {', '.join(part.parts)}.")
        part, decode = part.parts[member], _mapping(decode.get(member))
    elif member is not None:
        raise UserError(f"member={member!r}: this encoder is of samples of one modality; leave it out.")
    policy = build_policy(part)
    return Inputs(policy, make_modality(policy.spec, decode))


def _decoding(card: Card, folder: Path) -> dict[str, Any]:
    if card.decode is not None:
        return card.decode
    recipe = RunFolder(folder).recipe
    data = read(recipe).get("data") if recipe.is_file() else None
    return _mapping(data.get("decode")) if isinstance(data, dict) else {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def is_batch(value: Any, inputs: Inputs) -> bool:
    """Return whether an object is several samples: a list, or a tensor or an array with a dimension more than one."""
    if isinstance(value, (list, tuple)):
        return True
    num: Sequence[int] | None = getattr(value, "shape", None)
    return num is not None and len(num) == len(inputs.policy.spec.views[0].shape) + 1
