"""Encoder and projector together: views -> z."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View, encode, stack_alike


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
