"""The target `alternate`: the network as it was at the last recomputation (Chen & He 2021, section 5)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.batch import View
from ssl_zoo.distributed.shards import local
from ssl_zoo.parts import StepCounter, Target
from ssl_zoo.registry import register
from ssl_zoo.targets.ema import disable_stochastic_layers


@register("target", "alternate")
class Alternate(Target):
    """t comes from the weights that the network had at the start of the current block of `steps` optimizer steps.

    SimSiam seen as an alternation between two sets of unknowns (Chen & He 2021, arXiv 2011.10566, equations 7 and 8):
    the representations eta are computed with the weights of the block's start, held constant for `steps` steps of SGD
    on the weights theta, and then computed anew. With `steps: 1` this is SimSiam, at the cost of a second forward pass;
    with the number of steps in an epoch it is the paper's "1-epoch". Norm layers normalise by the batch that they see.
    There is no dropout and no stochastic depth in the second network.

    Args:
        branch: encoder and projector.
        steps: optimizer steps from one recomputation of eta to the next.
    """

    depends_on_length = False

    def __init__(self, branch: nn.Module, *, steps: Annotated[int, Field(ge=1)] = 1):
        super().__init__()
        self.network = copy.deepcopy(branch).requires_grad_(False)
        disable_stochastic_layers(self.network)
        self._online = [branch]  # in a list, so that the online parameters are not registered a second time
        self.steps = steps
        self.done = StepCounter()

    def forward(self, views: Sequence[View], z: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the embeddings `(B, D)` of the global views by the weights of the block's start."""
        seen = [view for view in views if view.is_target]
        with torch.no_grad():
            targets = iter(self.network(seen))
        return [next(targets) if view.is_target else None for view in views]

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Count a step; at the end of a block, take the online network's weights and buffers."""
        super().after_step(progress)
        if int(self.done) % self.steps:
            return
        online = self._online[0]
        mine = [*map(local, self.network.parameters()), *self.network.buffers()]
        if mine:
            torch._foreach_copy_(mine, [*map(local, online.parameters()), *online.buffers()])
