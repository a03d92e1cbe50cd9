"""The kind of method `masked_view`: from a view with parts blanked out, predict the embedding of the whole view.

The other branch is a moving average of the online network, as in BYOL, but both see the same view: what has to be
predicted is what the mask took, not what an augmentation changed. It shows how a kind of method is written, and takes
views with any number of axes; it is no published method, and nothing is claimed for its features.

    ssl-zoo train masked_view.yaml --import masked_view        (in the folder examples/)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo import parts
from ssl_zoo.batch import Batch, Pairs, StepOutput
from ssl_zoo.methods.branch import Branch, embed
from ssl_zoo.methods.builder import Builder
from ssl_zoo.methods.contract import Trial
from ssl_zoo.methods.method import Method
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.recipe.part import Head, Terms, default
from ssl_zoo.registry import register
from ssl_zoo.targets.ema import EMA


def mask(x: Tensor, ratio: float, grid: int) -> Tensor:
    """Return views `(B, C, ...)` with random cells of a grid, the same in all channels, set to 0."""
    sides = x.shape[2:]
    kept = torch.rand(len(x), 1, *(min(grid, side) for side in sides), device=x.device) >= ratio
    return x * F.interpolate(kept.to(x.dtype), size=sides, mode="nearest")


class MaskedView(Method):
    """Predicts the moving average's embedding of a view from the view with parts blanked out.

    Args:
        branch: the encoder and the projector.
        predictor: z of the masked view -> p `(B, D)`.
        target: the moving average of the branch.
        objective: weighted terms; pair terms see (p, t) of each view.
        ratio: of the cells that are masked.
        grid: cells along each axis of a view.
    """

    def __init__(
        self, branch: Branch, predictor: nn.Module, target: EMA, objective: Objective, ratio: float, grid: int
    ) -> None:
        super().__init__()
        self.encoder, self.projector, self.predictor = branch.encoder, branch.projector, predictor
        self.target, self.objective, self.ratio, self.grid = target, objective, ratio, grid

    @property
    def shrinks(self) -> bool:
        """Whether embeddings that shrink to one point lower the loss."""
        return self.objective.shrinks

    def forward(self, batch: Batch) -> StepOutput:
        """Return the loss of one batch."""
        masked = [replace(view, data=mask(view.tensor, self.ratio, self.grid)) for view in batch.views]
        z = embed(self.encoder, self.projector, masked, stack=False)
        t = self.target(batch.views, z)
        pairs = [(self.predictor(x), y) for x, y in zip(z, t, strict=True) if y is not None]
        terms = self.objective(Pairs(pairs, 1 / len(pairs)), z, batch.views)
        return StepOutput(torch.stack(list(terms.values())).sum(), terms, [x.detach() for x in z])

    def after_step(self, progress: float) -> None:
        """Move the moving average, and what else follows the training."""
        parts.after_step((self.projector, self.predictor, self.target, *self.objective.terms.values()), progress)

    def try_parts(self, trial: Trial) -> None:
        """Try that each part takes what the parts before it give."""
        trial.encoder()
        trial.head("projector", trial.width("encoder"))
        trial.head("predictor", trial.width("projector"))


@register("method", "masked_view")
def masked_view(
    builder: Builder,
    *,
    projector: Head = default("head", "identity"),
    predictor: Head = default("head", "identity"),
    objective: Terms,
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.99,
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    grid: Annotated[int, Field(ge=2)] = 5,
) -> MaskedView:
    """From a view with parts blanked out, the embedding of the whole view is predicted.

    Args:
        builder: of the recipe's parts.
        projector: h -> z.
        predictor: z -> p.
        objective: weighted terms over (p, t) and z.
        momentum: of the moving average, at the start; it rises to 1.
        ratio: of the cells that are masked.
        grid: cells along each axis of a view.
    """
    first = builder.head("projector", projector, builder.encoder_width)
    head = builder.head("predictor", predictor, first.out_dim)
    branch = Branch(builder.encoder, first)
    terms = builder.objective(objective, head.out_dim)
    return MaskedView(branch, head, EMA(branch, momentum=momentum), terms, ratio, grid)
