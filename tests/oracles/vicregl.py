"""VICRegL in plain torch, from section 3 of Bardes et al. 2022 (arXiv 2210.01571) and the authors' mended code."""

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.networks import mlp
from tests.oracles.vicreg import covariance, variance


class Oracle(networks.Oracle):
    """alpha l(Z, Z') + beta [L_location + L_feature], beta = 1 - alpha, l with 25, 25, 1 and means over two views."""

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        dims: Sequence[int],
        local: Sequence[int],
        gamma: int,
        alpha: float = 0.75,
        beta: float = 0.25,
    ):
        super().__init__(encoder, mlp(width, dims, bias=True))
        self.local_projector = mlp(width, local, bias=True)
        self.gamma, self.alpha, self.beta = gamma, alpha, beta

    def loss(self, views: Sequence[Tensor], geometry: Sequence[Tensor]) -> Tensor:
        y = [feature_maps(self.encoder, x) for x in views]
        z = [self.projector(m.mean((2, 3))) for m in y]
        total = self.alpha * criterion(z[0][:, None], z[1][:, None])
        flat = [m.flatten(2).transpose(1, 2) for m in y]  # (B, H W, D_h)
        e = [self.local_projector(m.flatten(0, 1)).view(*m.shape[:2], -1) for m in flat]
        where = [positions(g, *m.shape[2:]) for g, m in zip(geometry, y, strict=True)]
        for points, number in ((where, self.gamma), ([x.detach() for x in e], flat[0].shape[1])):
            for i, j in ((0, 1), (1, 0)):  # symmetrised: the mean of both directions
                total = total + self.beta * matched(e[i], e[j], points[i], points[j], number) / 2
        return total


def feature_maps(encoder: nn.Module, x: Tensor) -> Tensor:
    """The encoder's features of places as maps `(B, D_h, H, W)`."""
    tokens, grid = encoder.tokens(SimpleNamespace(tensor=x))
    return tokens.transpose(1, 2).unflatten(2, grid)


def positions(g: Tensor, height: int, width: int) -> Tensor:
    """The centre of each cell in the image, for crops (top, left, height, width, flipped) in fractions of it."""
    all_of_them = []
    for top, left, tall, wide, flipped in g.tolist():
        for row in range(height):
            for column in range(width):
                across = width - 1 - column if flipped else column
                all_of_them.append((top + tall * (row + 0.5) / height, left + wide * (across + 0.5) / width))
    return torch.tensor(all_of_them, dtype=torch.float64).view(len(g), height * width, 2)


def matched(y: Tensor, y2: Tensor, points: Tensor, points2: Tensor, number: int) -> Tensor:
    """l over the `number` pairs whose points are nearest, place by place in the order of the places of y."""
    distance = (points[:, :, None] - points2[:, None]).norm(dim=3).min(2)
    kept = distance.values.argsort(1)[:, :number].sort(1).values
    rows = torch.arange(len(y))[:, None]
    return criterion(y[rows, kept], y2[rows, distance.indices[rows, kept]])


def criterion(a: Tensor, b: Tensor) -> Tensor:
    """25 MSE + 25 [v(a) + v(b)]/2 + [c(a) + c(b)]/2 of (B, places, D): v and c over B, mean over the places."""
    places = range(a.shape[1])
    v = sum(variance(x[:, k]) for x in (a, b) for k in places) / (2 * len(places))
    c = sum(covariance(x[:, k]) for x in (a, b) for k in places) / (2 * len(places))
    return 25 * ((a - b) ** 2).mean() + 25 * v + c
