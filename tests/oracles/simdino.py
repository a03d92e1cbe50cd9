"""SimDINO in plain torch, from Wu et al. 2025 (arXiv 2502.10385) and the authors' code with `--expa_type=0`."""

from collections.abc import Sequence

from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.emp_ssl import coding_rate
from tests.oracles.networks import cosine, in_one_pass, mlp, unit


class Oracle(networks.Oracle):
    """-mean cos(student, teacher) over pairs of different views - gamma mean_v R(Z_v) over the global views."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], eps: float = 0.05, tau: float = 0.996):
        super().__init__(encoder, mlp(width, dims, bias=True, last_bias=True, norm=None, activation=nn.GELU))
        self.eps, self.tau = eps, tau

    def loss(self, views: Sequence[Tensor], crops: Sequence[Tensor]) -> Tensor:
        s = [unit(x) for x in in_one_pass(self.encoder, self.projector, [*views, *crops])]
        t = [unit(x) for x in in_one_pass(*self.target, views)]
        pairs = [(x * y).sum(1).mean() for i, x in enumerate(s) for j, y in enumerate(t) if i != j]
        n, d = s[0].shape
        gamma = (d + n) / (d * n)
        rates = [coding_rate(x, self.eps) for x in s[: len(views)]]
        return -sum(pairs) / len(pairs) - gamma * sum(rates) / len(rates)

    def after_step(self, progress: float) -> None:
        self.move_target(cosine(self.tau, progress))
