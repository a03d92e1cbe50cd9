"""Builder: makes the parts of a recipe for a kind of method, each from its own stream of the seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import View
from ssl_zoo.errors import UserError, short
from ssl_zoo.methods.first_weights import put_weights
from ssl_zoo.methods.members import DirectionHeads, MemberHeads, direction, directions, width_of
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.recipe.part import AnyPart, Part, PerMember, WeightedPart
from ssl_zoo.rng import derive

_STREAMS = {"encoder": 0, "projector": 1, "predictor": 2, "target": 3, "local_projector": 4}
"""Streams that had numbers before they had names: recorded runs depend on them. A new one is its name."""


@dataclass
class Builder:
    """Makes the parts of a method.

    Args:
        seed: of the recipe.
        encoder: built already, since it is the product whatever the kind of method.
        views: of two samples, on the meta device, as the recipe's policy makes them.
        weights: {component: {name: tensor}} to start from.
        names: {part: its name in messages}; filled as parts are made. That of a member's is `encoder.image`.
        members: of samples that are mappings, their names; none where a sample is of one modality.
        batch_size: samples of an optimizer step, of all processes; None where it is not known.
    """

    seed: int
    encoder: nn.Module
    views: Sequence[View]
    weights: Mapping[str, Mapping[str, Tensor]]
    names: dict[str, str] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    batch_size: int | None = None

    @property
    def encoder_width(self) -> int:
        """Width of the encoder's features."""
        encoder: Any = self.encoder
        return encoder.out_dim

    @property
    def encoder_widths(self) -> dict[str, int]:
        """Width of the features of each member's views; of samples of one modality {"": width}."""
        return {member: width_of(self.encoder, member) for member in self.members} or {"": self.encoder_width}

    @contextmanager
    def stream(self, name: str) -> Iterator[None]:
        """A context whose random numbers are those of a named stream, so that swapping a part leaves the others."""
        with torch.random.fork_rng(devices=[]):
            number = _STREAMS.get(name)
            torch.manual_seed(
                derive(self.seed, f"init {name}") if number is None else derive(self.seed, "init", number)
            )
            yield

    def part(self, kind: str, name: str, part: Part, **context: Any) -> Any:
        """Build a part.

        Args:
            kind: of the part.
            name: of the component in the method, for messages.
            part: from the recipe.
            **context: positional parameters that it may ask for.
        """
        self.names[name] = part.name
        return registry.build(kind, part.name, part.options, **context)

    def head(self, name: str, part: AnyPart, in_dim: int | Mapping[str, int]) -> Any:
        """Build a head, or one for each member, each from its own stream, with the weights that were given for it.

        Args:
            name: of the component in the method.
            part: from the recipe.
            in_dim: width of its input; where it is not the same for all members, {member: width}.

        Raises:
            UserError: one head for members whose widths differ.
        """
        widths = {"": in_dim} if isinstance(in_dim, int) else dict(in_dim)
        if isinstance(part, PerMember):
            head = self._head_per_member(name, part, widths)
        else:
            head = self._head(name, name, part, self._one_width(name, part, widths))
        if name in self.weights:
            put_weights(head, self.weights[name], name)
        return head

    def _head(self, name: str, stream: str, part: Part, in_dim: int) -> nn.Module:
        with self.stream(stream):
            head: nn.Module = self.part("head", name, part, in_dim=in_dim)
        check_width(head, "head", part.name)
        return head

    def _head_per_member(self, name: str, part: PerMember, widths: Mapping[str, int]) -> nn.Module:
        self.names[name] = part.name
        if "per_direction" in part.parts:
            each, made = part.parts["per_direction"], {}
            for source, target in directions(self.members):
                place = f"{name}.{direction(source, target)}"
                made[source, target] = self._head(place, place, each, widths[source])
            return DirectionHeads(made)
        parts = {member: part.of(member) for member in self.members}
        return MemberHeads({m: self._head(f"{name}.{m}", f"{name}.{m}", parts[m], widths[m]) for m in self.members})

    def _one_width(self, name: str, part: Part, widths: Mapping[str, int]) -> int:
        """Return the width of the input of a head that all members share."""
        first = next(iter(widths.values()))
        if any(width != first for width in widths.values()):
            each = ", ".join(f"{member} {width}" for member, width in widths.items())
            raise UserError(
                f"{name}: {part.name} is one for all members, but their widths differ ({each}); give each its own: "
                f"{name}: {{each: {{name: {'mlp' if part.name == 'identity' else part.name}, ...}}}}."
            )
        return first

    def objective(self, terms: Sequence[WeightedPart], dim: int) -> Objective:
        """Build weighted terms over embeddings of a width."""
        return Objective([(t.name, t.weight, registry.build("term", t.name, t.options, dim=dim)) for t in terms])


def check_width(module: Any, kind: str, name: str) -> None:
    """Make sure that a part is a module that states the width of its output.

    Raises:
        PartFailed: it is none, or states none.
    """
    if not isinstance(module, nn.Module):
        raise registry.PartFailed(f"{kind} {name!r}: is a {type(module).__name__}, and must be a torch.nn.Module.")
    value = getattr(module, "out_dim", None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        states = "" if value is None else f", not {short(value)}"
        raise registry.PartFailed(
            f"{kind} {name!r}: its module must have an integer attribute out_dim, the width of its output{states}; "
            "set it in __init__: self.out_dim = ..."
        )
