"""Modules of samples that are mappings: an encoder or a head for each member, and the product of training on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

from torch import Tensor, nn

from ssl_zoo.batch import View, encode
from ssl_zoo.errors import UserError
from ssl_zoo.parts import Prediction, after_step


class OfMembers(nn.ModuleDict):
    """A module for each member.

    Attributes:
        out_dims: {member: width of its output}.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__(dict(modules))
        self.out_dims: dict[str, int] = {name: width(module) for name, module in self.items()}

    @property
    def out_dim(self) -> int:
        """The width of the output where it is that of all members, else the sum, which no single view has."""
        widths = set(self.out_dims.values())
        return widths.pop() if len(widths) == 1 else sum(self.out_dims.values())

    def of(self, view: View) -> nn.Module:
        """Return the module of a view's member.

        Raises:
            UserError: it has none.
        """
        if view.modality not in self:
            raise UserError(f"there is no module for views of {view.modality!r}; there are those of {', '.join(self)}.")
        return self[view.modality]

    def after_step(self, progress: float) -> None:
        """Move the modules that follow the training: once per optimizer step, `progress` in [0, 1]."""
        after_step(self.values(), progress)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the module of each member."""
        for module in self.values():
            module.compile(*args, **kwargs)


class MemberEncoders(OfMembers):
    """An encoder for each member."""

    def encode(self, view: View) -> Tensor:
        """Return h `(B, out_dims[member])` of a view."""
        return encode(self.of(view), view)


class MemberHeads(OfMembers):
    """A head for each member: its own weights, for views of this member."""

    def sources(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Yield (name, member whose embeddings it takes, head)."""
        for name, head in self.items():
            yield name, name, head

    def forward(self, x: Tensor, view: View) -> Tensor:
        """Return the output `(B, out_dims[member])` for the embeddings `(B, D)` of a view."""
        return self.of(view)(x)


class DirectionHeads(nn.ModuleDict):
    """A predictor for each ordered pair of members: it predicts the one from the other.

    Args:
        heads: {(source, target): module}.

    Attributes:
        out_dim: width of the predictions, the same for all.
    """

    def __init__(self, heads: Mapping[tuple[str, str], nn.Module]) -> None:
        super().__init__({direction(*pair): head for pair, head in heads.items()})
        self.pairs = list(heads)
        self.out_dims = {pair: width(head) for pair, head in heads.items()}
        self.out_dim = next(iter(self.out_dims.values()))

    def sources(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Yield (name, member whose embeddings it takes, head)."""
        for source, target in self.pairs:
            name = direction(source, target)
            yield name, source, self[name]

    def forward(self, x: Tensor, view: View) -> dict[str, Tensor]:
        """Return {target member: p `(B, out_dim)`} for the embeddings `(B, D)` of a view."""
        return {target: self[direction(source, target)](x) for source, target in self.pairs if source == view.modality}

    def after_step(self, progress: float) -> None:
        """Move the heads that follow the training: once per optimizer step, `progress` in [0, 1]."""
        after_step(self.values(), progress)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the predictor of each pair."""
        for module in self.values():
            module.compile(*args, **kwargs)


def direction(source: str, target: str) -> str:
    """Return the name of the predictor from one member to another."""
    return f"{source}_to_{target}"


def directions(members: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the ordered pairs (source, target) of different members."""
    yield from permutations(members, 2)


def width(module: nn.Module) -> int:
    """Return the width that a module states of its output."""
    module_: Any = module
    return module_.out_dim


def width_of(module: nn.Module, member: str) -> int:
    """Return the width of a module's output for the views of a member."""
    return module.out_dims[member] if isinstance(module, (OfMembers, PairedEncoder)) else width(module)


def apply(head: nn.Module, x: Tensor, view: View) -> Any:
    """Return what a head makes of the embeddings x `(B, D)` of a view: a member's own head sees its member's only.

    Of a predictor per direction that is {target member: `(B, D)`}, else `(B, D)`.
    """
    return head(x, view) if isinstance(head, (MemberHeads, DirectionHeads)) else head(x)


class PairedEncoder(nn.Module):
    """The product of training on samples that are mappings: encoder and heads, so that members can be compared.

    Args:
        members: their names.
        encoder: of all members, or `MemberEncoders`.
        projector: the same of heads, h -> z.
        predictor: the same, z -> p; or `DirectionHeads`.

    Attributes:
        out_dims: {member: width of h}.
        out_dim: width of h where it is that of all members, else the sum of the widths.
    """

    def __init__(self, members: Sequence[str], encoder: nn.Module, projector: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.members = tuple(members)
        self.encoder, self.projector, self.predictor = encoder, projector, predictor
        self.out_dims = {member: width_of(encoder, member) for member in members}
        self.out_dim = width(encoder)

    def encode(self, view: View) -> Tensor:
        """Return h `(B, out_dims[member])` of a view."""
        return encode(self.encoder, view)

    def embedding(self, view: View) -> Tensor:
        """Return z `(B, D)` of a view: what others predict."""
        z: Tensor = apply(self.projector, self.encode(view), view)
        return z

    def align(self, view: View, towards: str) -> Tensor:
        """Return p `(B, D)` of a view, to be compared with `embedding` of another member; z without a predictor.

        Args:
            view: of one member.
            towards: the name of the member whose embedding it predicts.

        Raises:
            UserError: there is no such member, or no predictor from the view's member to it.
        """
        if towards not in self.members:
            raise UserError(f"there is no member {towards!r}; there are {', '.join(self.members)}.")
        p: Prediction = apply(self.predictor, self.embedding(view), view)
        if isinstance(p, Tensor):
            return p
        if towards not in p:
            raise UserError(f"there is no predictor from {view.modality} to {towards}.")
        return p[towards]

    def forward(self, views: Sequence[View]) -> list[Tensor]:
        """Return z `(B, D)` of each view."""
        return [self.embedding(view) for view in views]
