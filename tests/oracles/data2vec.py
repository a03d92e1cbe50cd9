"""data2vec in plain torch, sample by sample, from section 3 of Baevski et al. 2022 (arXiv 2202.03555) and its code."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import Transformer, normal, smooth_l1


class Oracle(networks.TokenOracle):
    """The student sees a mask token in hidden places, and predicts the mean of the teacher's last K blocks there."""

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        patch: Sequence[int],
        depth: int,
        heads: int,
        blocks: int,
        tau: float = 0.9998,
        beta: float = 2.0,
    ):
        super().__init__(Transformer(3, patch, width, depth, heads), nn.Linear(width, width))
        self.mask_token = nn.Parameter(torch.empty(width))
        self.num_blocks, self.tau, self.beta = blocks, tau, beta

    def loss(self, views: Sequence[Tensor], hidden: Sequence[Sequence[tuple[list[int], list[list[int]]]]]) -> Tensor:
        """The mean over the hidden places of all samples."""
        errors = []
        for x, (_, (places,)) in zip(views[0], hidden[0], strict=True):
            with torch.no_grad():
                patches, at, _ = self.target[0].start(x)
                added = self.target[0].run(patches + at)[1][-self.num_blocks :]
                y = sum(normal(a) for a in added) / self.num_blocks
            patches, at, _ = self.encoder.start(x)
            masked = patches.clone()
            masked[places] = self.mask_token
            tokens, _ = self.encoder.run(masked + at)
            errors.append(smooth_l1(self.predictor(tokens[places]) - y[places], self.beta))
        return torch.cat(errors).mean()

    def after_step(self, progress: float) -> None:
        """tau stays."""
        self.move_target(self.tau)
