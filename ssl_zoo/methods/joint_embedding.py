"""Method: the training step of every joint-embedding method, on one screen.

A method is its parts. `Method(batch)` returns the loss and what it is made of, and is a plain module: any loop can
train it, `method.after_step(progress)` being called once per optimizer step. `method.encoder` is the product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from ssl_zoo.batch import Batch, StepOutput, View, encode
from ssl_zoo.objectives.objective import Objective


def embed(encoder: nn.Module, projector: nn.Module, views: Sequence[View], stack: bool) -> list[Tensor]:
    """Return z `(B, D_z)` of each view: one pass a view, or neighbouring views of one shape stacked in one pass.

    The projector then sees the views of all shapes in one pass, as in the code of SwAV and DINO.
    """
    if not stack:
        return [projector(encode(encoder, view)) for view in views]
    alike = [list(group) for _, group in groupby(views, key=lambda view: view.data.shape)]
    stacked = [View(torch.cat([v.data for v in group]), group[0].modality, group[0].role) for group in alike]
    return list(projector(torch.cat([encode(encoder, view) for view in stacked])).chunk(len(views)))


class Branch(nn.Module):
    """Encoder and projector as one module, views -> z: what a target network is a copy of."""

    def __init__(self, encoder: nn.Module, projector: nn.Module, stack_views: bool = False):
        super().__init__()
        self.encoder, self.projector, self.stack_views = encoder, projector, stack_views

    def forward(self, views: Sequence[View]) -> list[Tensor]:
        """Return z `(B, D_z)` of each view."""
        return embed(self.encoder, self.projector, views, self.stack_views)


class Method(nn.Module):
    """A non-contrastive method, assembled from parts.

    Args:
        encoder: view -> h `(B, D_h)`.
        projector: h -> z `(B, D_z)`.
        predictor: z -> p `(B, D_z)`; the identity where a method has none.
        target: (views, z) -> t, one a view; how gradient is kept out is its business.
        pairing: (p, t) -> the pairs to compare.
        objective: weighted terms over the pairs and over all z.
        stack_views: encode all views of one shape in one pass; BatchNorm statistics are then those of all of them.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        predictor: nn.Module,
        target: nn.Module,
        pairing: nn.Module,
        objective: Objective,
        stack_views: bool = False,
    ):
        super().__init__()
        self.encoder, self.projector, self.predictor = encoder, projector, predictor
        self.target, self.pairing, self.objective = target, pairing, objective
        self.stack_views = stack_views

    def forward(self, batch: Batch) -> StepOutput:
        """Return the loss of one batch."""
        z = embed(self.encoder, self.projector, batch.views, self.stack_views)
        p = [self.predictor(x) for x in z]
        t = self.target(batch.views, z)
        terms = self.objective(self.pairing(p, t), z, batch.views)
        return StepOutput(torch.stack(list(terms.values())).sum(), terms, [x.detach() for x in z])

    def after_step(self, progress: float) -> None:
        """Let the parts that follow the training move: once per optimizer step, `progress` in [0, 1]."""
        for part in (self.projector, self.predictor, self.target, self.pairing, *self.objective.terms.values()):
            hook: Callable[[float], None] | None = getattr(part, "after_step", None)
            if hook is not None:
                hook(progress)
