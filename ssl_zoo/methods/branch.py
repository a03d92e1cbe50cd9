"""Encoder and projector together, views -> z, and the parts of methods that compare their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View, encode, stack_alike
from ssl_zoo.errors import UserError
from ssl_zoo.methods.builder import Builder
from ssl_zoo.recipe.part import Part, WeightedPart


def embed(encoder: nn.Module, projector: nn.Module, views: Sequence[View], stack: bool) -> list[Tensor]:
    """Return z `(B, D_z)` of each view: one pass per view, or neighbouring views of one layout stacked in one pass.

    The projector then sees the views of all layouts in one pass, as in the code of SwAV and DINO.
    """
    if not stack:
        return [projector(encode(encoder, view)) for view in views]
    alike = [list(group) for _, group in groupby(views, key=lambda view: view.layout)]
    return list(projector(torch.cat([encode(encoder, stack_alike(group)) for group in alike])).chunk(len(views)))


class Branch(nn.Module):
    """Encoder and projector as one module, views -> z: what a target network is a copy of."""

    def __init__(self, encoder: nn.Module, projector: nn.Module, stack_views: bool = False):
        super().__init__()
        self.encoder, self.projector, self.stack_views = encoder, projector, stack_views

    def forward(self, views: Sequence[View]) -> list[Tensor]:
        """Return z `(B, D_z)` of each view."""
        return embed(self.encoder, self.projector, views, self.stack_views)


def joint_parts(
    builder: Builder,
    projector: Part,
    predictor: Part,
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
    z = builder.head("projector", projector, builder.encoder_width)
    p = builder.head("predictor", predictor, z.out_dim)
    with builder.stream("target"):
        t = builder.part("target", "target", target, branch=Branch(builder.encoder, z, stack_views))
        terms = builder.objective(objective, p.out_dim)
    if p.out_dim != z.out_dim:
        raise UserError(
            f"predictor: ends in {p.out_dim} dimensions but must predict the projector's {z.out_dim}; "
            f"make the predictor's last width {z.out_dim}."
        )
    pairs = builder.part("pairing", "pairing", pairing, dim=z.out_dim)
    return {
        "encoder": builder.encoder, "projector": z, "predictor": p, "target": t, "pairing": pairs, "objective": terms,
    }  # fmt: skip
