"""What the oracles share, none of it a loss: heads of linear layers, views in one pass, a moving average of weights."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def mlp(
    width: int,
    dims: Sequence[int],
    bias: bool = False,
    last_bias: bool = False,
    norm: type[nn.Module] | None = nn.BatchNorm1d,
    affine: bool = True,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Linear, norm, activation for each hidden layer; linear at the end."""
    layers: list[nn.Module] = []
    for hidden in dims[:-1]:
        layers += [nn.Linear(width, hidden, bias=bias)]
        layers += [norm(hidden, affine=affine)] if norm is not None else []
        layers += [activation()]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, dims[-1], bias=last_bias))


def unit(x: Tensor) -> Tensor:
    """x/|x|, row by row."""
    return x / torch.sqrt((x * x).sum(1, keepdim=True))


def in_one_pass(f: nn.Module, g: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
    """z of each view: views of one size go through the encoder f together, all through the projector g together."""
    sizes = dict.fromkeys(x.shape[-1] for x in views)
    h = torch.cat([f(torch.cat([x for x in views if x.shape[-1] == size])) for size in sizes])
    return list(g(h).split([len(x) for x in views]))


class Oracle(nn.Module):
    """An encoder f and a projector g; some have a predictor too, and a target network that follows f and g."""

    target: nn.ModuleList

    def __init__(self, encoder: nn.Module, projector: nn.Module, predictor: nn.Module | None = None):
        super().__init__()
        self.encoder, self.projector = encoder, projector
        if predictor is not None:
            self.predictor = predictor

    def embed(self, views: Sequence[Tensor]) -> list[Tensor]:
        """z of each view, one pass a view."""
        return [self.projector(self.encoder(x)) for x in views]

    def start_target(self) -> None:
        """xi starts as theta."""
        self.target = copy.deepcopy(nn.ModuleList([self.encoder, self.projector])).requires_grad_(False)

    def move_target(self, tau: float) -> None:
        """xi <- tau xi + (1 - tau) theta."""
        with torch.no_grad():
            online = [*self.encoder.parameters(), *self.projector.parameters()]
            for xi, theta in zip(self.target.parameters(), online, strict=True):
                xi.copy_(tau * xi + (1 - tau) * theta)

    def after_step(self, progress: float) -> None:
        """Nothing moves but the weights; `progress` is k/K, the part of the run that is done."""


def cosine(tau: float, progress: float) -> float:
    """tau at k/K of the run: 1 - (1 - tau) (cos(pi k/K) + 1)/2 (BYOL, section 3.1)."""
    return 1 - (1 - tau) * (math.cos(math.pi * progress) + 1) / 2
