"""CrissCross in plain torch: SimSiam's distance on all pairs (Sarkar & Etemad 2021, arXiv 2111.05329)."""

from collections.abc import Sequence

from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp
from tests.oracles.simsiam import distance


class Oracle(networks.Oracle):
    """f_v and f_a with a projection MLP each; h_v and h_a predict whatever is to be predicted from their modality."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], predictor: Sequence[int]):
        heads = [mlp(width, dims, bias=True, last_bias=True) for _ in range(2)]
        projectors = nn.ModuleList(nn.Sequential(*head, nn.BatchNorm1d(dims[-1])) for head in heads)
        predictors = nn.ModuleList(mlp(dims[-1], predictor, bias=True, last_bias=True) for _ in range(2))
        super().__init__(encoder, projectors, predictors)

    def loss(self, views: Sequence[Tensor]) -> Tensor:
        """Mean of L_v1v2, L_a1a2 (intra), L_v1a1, L_v2a2 (the same place in order) and L_v1a2, L_v2a1."""
        fv, fa = self.encoder.children()
        v1, v2 = (self.projector[0](fv(x)) for x in views[:2])
        a1, a2 = (self.projector[1](fa(x)) for x in views[2:])
        hv, ha = self.predictor
        pv1, pv2, pa1, pa2 = hv(v1), hv(v2), ha(a1), ha(a2)

        def both(p: Tensor, z: Tensor, q: Tensor, y: Tensor) -> Tensor:
            return distance(p, y) / 2 + distance(q, z) / 2

        intra = both(pv1, v1, pv2, v2) + both(pa1, a1, pa2, a2)
        cross = both(pv1, v1, pa1, a1) + both(pv2, v2, pa2, a2) + both(pv1, v1, pa2, a2) + both(pv2, v2, pa1, a1)
        return (intra + cross) / 6
