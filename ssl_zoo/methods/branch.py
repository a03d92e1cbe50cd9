"""Encoder and projector together, views -> z, and the parts of methods that compare their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View, encode, stack_alike
from ssl_zoo.distributed.one_pass import view_by_view
from ssl_zoo.errors import UserError
from ssl_zoo.methods.builder import Builder
from ssl_zoo.methods.members import MemberHeads, apply, width_of
from ssl_zoo.recipe.part import AnyPart, Part, WeightedPart

Embedded = tuple[list[Tensor], list[Tensor]]
"""h `(B, D_h)` and z `(B, D_z)` of each view."""


def embed(encoder: nn.Module, projector: nn.Module, views: Sequence[View], stack: bool) -> list[Tensor]:
    """Return z `(B, D_z)` of each view; see `embed_both`."""
    return embed_both(encoder, projector, views, stack)[1]


def embed_both(
    encoder: nn.Module, projector: nn.Module, views: Sequence[View], stack: bool, one_pass: bool = False
) -> Embedded:
    """Return h and z of each view: one pass per view, or neighbouring views of one layout stacked in one pass.

    The projector then sees the views of all layouts in one pass, as in the code of SwAV and DINO; where it is one per
    member, that of a member sees its own.

    Args:
        encoder: view -> h.
        projector: h -> z.
        views: of a batch.
        stack: BatchNorms see all views of a pass together.
        one_pass: stack them, but let BatchNorms see them one after the other; see `ssl_zoo.distributed.one_pass`.
    """
    if not stack and one_pass:
        return _in_one_pass(encoder, projector, views)
    if not stack:
        return _unzipped([_one(encoder, projector, view) for view in views])
    if isinstance(projector, MemberHeads):
        members = [list(group) for _, group in groupby(views, key=lambda view: view.modality)]
        each = [_stacked(encoder, projector.of(group[0]), group) for group in members]
        return [x for h, _ in each for x in h], [x for _, z in each for x in z]
    return _stacked(encoder, projector, views)


def _one(encoder: nn.Module, projector: nn.Module, view: View) -> tuple[Tensor, Tensor]:
    h = encode(encoder, view)
    return h, apply(projector, h, view)


def _unzipped(pairs: Sequence[tuple[Tensor, Tensor]]) -> Embedded:
    return [h for h, _ in pairs], [z for _, z in pairs]


def _stacked(encoder: nn.Module, projector: nn.Module, views: Sequence[View]) -> Embedded:
    """Return h and z of each view, the projector seeing all of them in one pass."""
    alike = [list(group) for _, group in groupby(views, key=lambda view: view.layout)]
    encoded = [encode(encoder, stack_alike(group)) for group in alike]
    z = projector(torch.cat(encoded)).chunk(len(views))
    return [x for h, group in zip(encoded, alike, strict=True) for x in h.chunk(len(group))], list(z)


def _in_one_pass(encoder: nn.Module, projector: nn.Module, views: Sequence[View]) -> Embedded:
    """Return h and z of each view as one pass for each would give them, in as few passes as there are layouts."""
    h: list[Tensor] = []
    for _, same in groupby(views, key=lambda view: (view.layout, view.role, view.is_target)):
        group = list(same)
        with view_by_view(encoder, len(group)):
            h += encode(encoder, stack_alike(group)).chunk(len(group))
    if isinstance(projector, MemberHeads):
        return h, [apply(projector, x, view) for x, view in zip(h, views, strict=True)]
    with view_by_view(projector, len(views)):
        return h, list(projector(torch.cat(h)).chunk(len(views)))


class Branch(nn.Module):
    """Encoder and projector as one module, views -> z: what a target network is a copy of."""

    one_pass = False

    def __init__(self, encoder: nn.Module, projector: nn.Module, stack_views: bool = False):
        super().__init__()
        self.encoder, self.projector, self.stack_views = encoder, projector, stack_views

    def forward(self, views: Sequence[View]) -> list[Tensor]:
        """Return z `(B, D_z)` of each view."""
        return embed_both(self.encoder, self.projector, views, self.stack_views, self.one_pass)[1]


def joint_heads(builder: Builder, projector: AnyPart, predictor: AnyPart) -> tuple[Any, Any]:
    """Return projector and predictor, of all members or one for each.

    Raises:
        UserError: embeddings of different width.
    """
    z = builder.head("projector", projector, builder.encoder_widths)
    widths = {member: width_of(z, member) for member in builder.members}
    if len(set(widths.values())) > 1:
        each = ", ".join(f"{member} {number}" for member, number in widths.items())
        raise UserError(
            f"projector: the embeddings of the members have different widths ({each}), so that they cannot be "
            "compared; "
            "make the projector's last width the same for all."
        )
    return z, builder.head("predictor", predictor, widths or {"": z.out_dim})


def _check_predicts(p: Any, z: Any) -> None:
    widths = getattr(p, "out_dims", {"": p.out_dim})
    for number in widths.values():
        if number != z.out_dim:
            raise UserError(
                f"predictor: ends in {number} dimensions but must predict the projector's {z.out_dim}; "
                f"make the predictor's last width {z.out_dim}."
            )


def joint_parts(
    builder: Builder,
    projector: AnyPart,
    predictor: AnyPart,
    target: Part,
    pairing: Part,
    objective: Sequence[WeightedPart],
    stack_views: bool,
) -> dict[str, Any]:
    """Build the parts of a method that compares embeddings of whole views.

    Returns:
        {encoder, projector, predictor, target, pairing, objective}.

    Raises:
        UserError: the predictor's width is not the projector's.
    """
    z, p = joint_heads(builder, projector, predictor)
    with builder.stream("target"):
        t = builder.part("target", "target", target, branch=Branch(builder.encoder, z, stack_views))
        terms = builder.objective(objective, p.out_dim)
    _check_predicts(p, z)
    pairs = builder.part("pairing", "pairing", pairing, dim=z.out_dim, batch_size=builder.batch_size)
    return {
        "encoder": builder.encoder, "projector": z, "predictor": p, "target": t, "pairing": pairs, "objective": terms,
    }  # fmt: skip
