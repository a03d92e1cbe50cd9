"""MMCR in plain torch, from equation 3 of Yerxa et al. 2023 (arXiv 2303.03307), with lambda = 0."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import in_one_pass, mlp, unit


class Oracle(networks.Oracle):
    """-|C|_*: row b of C is the centroid of sample b's views on the unit sphere."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int]):
        super().__init__(encoder, mlp(width, dims))

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        z = [unit(x) for x in in_one_pass(self.encoder, self.projector, views)]
        return -torch.linalg.matrix_norm(sum(z) / len(z), "nuc")
