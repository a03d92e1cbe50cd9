"""What is exported: an encoder that takes a tensor, its card, and what prepares samples for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, LibraryModel
from ssl_zoo.errors import UserError
from ssl_zoo.methods.members import MemberEncoders, PairedEncoder
from ssl_zoo.recipe.part import PerMember, resolve_members
from ssl_zoo.runs.card import read_card
from ssl_zoo.runs.encoder import library_models, read_encoder
from ssl_zoo.runs.encoder_files import EncoderFiles, find_files
from ssl_zoo.runs.inputs import Inputs, inputs_of


@dataclass(frozen=True)
class Subject:
    """An encoder that is to be exported.

    Attributes:
        files: that it was read from.
        module: (B, ...) -> (B, out_dim), in evaluation mode, on the CPU; of samples that are mappings and no member,
            the whole product, which takes views.
        name: of the encoder in recipes.
        card: what `encoder.json` says of it.
        spec: of the views that it takes.
        inputs: what prepares samples; None where the card does not say how.
        member: whose encoder it is, of samples that are mappings.
    """

    files: EncoderFiles
    module: nn.Module
    name: str
    card: dict[str, Any]
    spec: InputSpec
    inputs: Inputs | None
    member: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is the product of several members, which no single tensor can be put through."""
        return isinstance(self.module, PairedEncoder)

    @property
    def out_dim(self) -> int:
        """Width of the features."""
        module: Any = self.module
        width: int = module.out_dim
        return width

    @property
    def steps(self) -> dict[str, Any]:
        """What is done to a sample before it is put through the module, as plain data."""
        return {} if self.inputs is None else self.inputs.policy.steps()

    def library_model(self, library: str) -> LibraryModel:
        """Return the model of a library that the encoder is.

        Raises:
            UserError: it is none; the sentence says why, and what can hold it.
        """
        found = library_models(self.module).get(library)
        if isinstance(found, LibraryModel):
            return found
        why = f"{library}'s {self.name} cannot hold it: {found}" if found else f"{library} has no encoder {self.name}"
        raise UserError(f"--to {library}: {why}; --to onnx, torchscript or safetensors can.")


def open_subject(run: str | Path, member: str | None, to: str) -> Subject:
    """Read the encoder of a run, or that of a member.

    Args:
        run: see `load_encoder`.
        member: of samples that are mappings; None stands for all.
        to: the target, for messages.

    Raises:
        UserError: there is no such encoder or member, or it takes more than a tensor.
    """
    files = find_files(run)
    module, card = read_encoder(run), json.loads(files.card.read_text(encoding="utf-8"))
    parsed = read_card(files.card)
    if member is not None and not isinstance(module, PairedEncoder):
        raise UserError(f"--member {member}: {run} has an encoder of samples of one modality; leave it out.")
    if isinstance(module, PairedEncoder) and member is not None:
        if member not in module.members:
            raise UserError(f"--member {member}: there is none; {run} has {', '.join(module.members)}.")
        card = _of_member(card, member)
        inner = module.encoder
        module = inner[member] if isinstance(inner, MemberEncoders) else inner
    spec = parsed.spec if member is None else parsed.spec.each[member]
    whole = isinstance(module, PairedEncoder)
    inputs = None if whole or parsed.views is None else inputs_of(parsed, files.folder, member)
    name = card["encoder"].get("name") or ", ".join(f"{key}: {each['name']}" for key, each in card["encoder"].items())
    return Subject(files, module.eval(), str(name), card, spec, inputs, member)


def _of_member(card: Mapping[str, Any], member: str) -> dict[str, Any]:
    """Return the card of a member's encoder alone."""
    rest = {key: value for key, value in card.items() if key not in ("projector", "predictor", "sha256")}
    encoder = resolve_members("encoder", card["encoder"])
    part = encoder.of(member) if isinstance(encoder, PerMember) else encoder
    found = {
        **rest,
        "encoder": part.plain(),
        "input": card["input"]["members"][member],
        "member": member,
    }
    for key in ("views", "decode", "out_dim"):
        if isinstance(card.get(key), dict):
            found[key] = card[key].get(member)
    return found


class Plain(nn.Module):
    """An encoder behind the module that prepares its samples: uint8 `(B, ...)` -> h `(B, D)`.

    Args:
        prepare: makes plain views of samples.
        encoder: takes them.
    """

    def __init__(self, prepare: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.prepare, self.encoder = prepare, encoder

    def forward(self, samples: Tensor) -> Tensor:
        """Return the features of samples."""
        return self.encoder(self.prepare(samples))
