"""I-JEPA in plain torch, sample by sample, from section 3 of Assran et al. 2023 (arXiv 2301.08243) and its code."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import Predictor, Transformer, normal, smooth_l1

Hiding = tuple[list[int], list[list[int]]]  # visible places, and the blocks to be predicted


class Oracle(networks.TokenOracle):
    """A context encoder sees the visible patches alone; a predictor gives the target encoder's tokens of each block."""

    start_tau, beta = 0.996, 1.0

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        patch: Sequence[int],
        depth: int,
        heads: int,
        predictor: Sequence[int],
        channels: int = 3,
        tau: float | None = None,
        beta: float | None = None,
    ):
        super().__init__(Transformer(channels, patch, width, depth, heads), Predictor(width, *predictor))
        self.tau = self.start_tau if tau is None else tau
        self.beta = self.beta if beta is None else beta

    def loss(self, views: Sequence[Tensor], hidden: Sequence[Sequence[Hiding]]) -> Tensor:
        """The mean over all predicted tokens of all samples, masks and blocks."""
        errors = []
        for mask in hidden:
            for x, (visible, blocks) in zip(views[0], mask, strict=True):
                with torch.no_grad():
                    patches, at, grid = self.target[0].start(x)
                    t = normal(self.target[0].run(patches + at)[0])
                patches, at, _ = self.encoder.start(x)
                seen, _ = self.encoder.run((patches + at)[visible])
                errors += [
                    smooth_l1(self.predictor(seen, visible, block, grid) - t[block], self.beta) for block in blocks
                ]
        return torch.cat(errors).mean()

    def after_step(self, progress: float) -> None:
        """tau goes to 1 along a line."""
        self.move_target(self.tau + (1 - self.tau) * progress)
