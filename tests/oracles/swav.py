"""SwAV in plain torch, from equations 1 to 4 and the pseudo-code (appendix) of Caron et al. 2020 (arXiv 2006.09882)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import in_one_pass, mlp, unit


class Head(nn.Module):
    """An MLP with BN, unit length, and the scores of the prototypes C."""

    def __init__(self, width: int, dims: Sequence[int], prototypes: int):
        super().__init__()
        self.mlp = mlp(width, dims, bias=True, last_bias=True)
        self.c = nn.Linear(dims[-1], prototypes, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return self.c(unit(self.mlp(h)))


class Oracle(networks.Oracle):
    """l(z_s, q_t) = -q_t . log softmax(z_s C / 0.1), over pairs of a global view t and another view s."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], prototypes: int, eps: float = 0.05):
        super().__init__(encoder, Head(width, dims, prototypes))
        self.eps = eps

    def loss(self, views: Sequence[Tensor], crops: Sequence[Tensor]) -> Tensor:
        scores = in_one_pass(self.encoder, self.projector, [*views, *crops])
        codes = [self.sinkhorn(x.detach()) for x in scores[: len(views)]]
        p = [torch.softmax(x / 0.1, 1) for x in scores]
        pairs = [-(q * x.log()).sum(1).mean() for s, x in enumerate(p) for t, q in enumerate(codes) if s != t]
        return sum(pairs) / len(pairs)

    def sinkhorn(self, scores: Tensor) -> Tensor:
        """Q = Diag(u) exp(C^T Z / eps) Diag(v): three times rows to 1/K, then columns to 1/B."""
        q = torch.exp(scores / self.eps).T
        k, b = q.shape
        q = q / q.sum()
        for _ in range(3):
            q = q / (k * q.sum(1, keepdim=True))
            q = q / (b * q.sum(0, keepdim=True))
        return (b * q).T

    def after_step(self, progress: float) -> None:
        with torch.no_grad():
            self.projector.c.weight.copy_(unit(self.projector.c.weight))
