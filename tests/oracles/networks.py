"""What the oracles share, none of it a loss: heads of linear layers, views in one pass, a moving
average of weights, transformers for one sample."""

import copy
import itertools
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


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), for the tokens `(N, D)` of one sample."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.qkv = nn.LayerNorm(width, 1e-6), nn.Linear(width, 3 * width)
        self.out, self.norm2 = nn.Linear(width, width), nn.LayerNorm(width, 1e-6)
        self.fc1, self.fc2, self.heads = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), heads

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens, and what the MLP added to them."""
        q, k, v = (y.chunk(self.heads, dim=1) for y in self.qkv(self.norm1(x)).chunk(3, dim=1))
        mixed = [(a @ b.T / a.shape[1] ** 0.5).softmax(dim=1) @ c for a, b, c in zip(q, k, v, strict=True)]
        x = x + self.out(torch.cat(mixed, dim=1))
        added = self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))
        return x + added, added


def where(grid: Sequence[int], width: int) -> Tensor:
    """Sines, then cosines, of a place's row, then of its column (frames first), less their mean: `(N, width)`."""
    half, rows = width // (2 * len(grid)), []
    for place in itertools.product(*map(range, grid)):
        angles = [[at / 10000 ** (i / half) for i in range(half)] for at in place]
        row = [f(a) for axis in angles for f in (math.sin, math.cos) for a in axis]
        rows.append(row + [0.0] * (width - len(row)))
    at = torch.tensor(rows, dtype=torch.float64)
    return at - at.mean(0)


class Transformer(nn.Module):
    """A vision transformer for one sample `(C, *sides)`: patches, positions, blocks, a norm."""

    def __init__(self, channels: int, patch: Sequence[int], width: int, depth: int, heads: int):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[len(patch)]
        self.cut = conv(channels, width, tuple(patch), stride=tuple(patch))  # type: ignore[arg-type]
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-6)

    def start(self, x: Tensor) -> tuple[Tensor, Tensor, Sequence[int]]:
        """Patches `(N, D)`, their positions `(N, D)`, and the grid."""
        maps = self.cut(x)
        return maps.flatten(1).T, where(maps.shape[1:], len(maps)), maps.shape[1:]

    def run(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The tokens after the norm, and what each block's MLP added."""
        added = []
        for block in self.blocks:
            x, more = block(x)
            added.append(more)
        return self.norm(x), added


class Predictor(nn.Module):
    """A narrow transformer over visible tokens and mask tokens."""

    def __init__(self, width: int, inner: int, depth: int, heads: int):
        super().__init__()
        self.mask_token, self.enter = nn.Parameter(torch.empty(inner)), nn.Linear(width, inner)
        self.blocks = nn.ModuleList(Block(inner, heads) for _ in range(depth))
        self.norm, self.leave = nn.LayerNorm(inner, 1e-6), nn.Linear(inner, width)

    def forward(self, seen: Tensor, visible: list[int], asked: list[int], grid: Sequence[int]) -> Tensor:
        """Predictions `(M, D)` of the places asked for, from the tokens of the visible ones."""
        at = where(grid, len(self.mask_token))
        x = torch.cat([self.enter(seen) + at[visible], self.mask_token + at[asked]])
        for block in self.blocks:
            x, _ = block(x)
        return self.leave(self.norm(x)[len(visible) :])


def normal(x: Tensor) -> Tensor:
    """Each token without its mean, at variance 1."""
    x = x - x.mean(1, keepdim=True)
    return x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt()


def smooth_l1(d: Tensor, beta: float) -> Tensor:
    """d^2 / (2 beta) up to beta, |d| - beta/2 from there."""
    return torch.where(d.abs() < beta, d.square() / (2 * beta), d.abs() - beta / 2) if beta else d.abs()


class TokenOracle(Oracle):
    """A transformer and a predictor of tokens, and a target transformer that follows the first."""

    def __init__(self, encoder: nn.Module, predictor: nn.Module):
        nn.Module.__init__(self)
        self.encoder, self.predictor = encoder, predictor

    def start_target(self) -> None:
        """xi starts as theta."""
        self.target = copy.deepcopy(nn.ModuleList([self.encoder])).requires_grad_(False)

    def move_target(self, tau: float) -> None:
        """xi <- tau xi + (1 - tau) theta."""
        with torch.no_grad():
            for xi, theta in zip(self.target.parameters(), self.encoder.parameters(), strict=True):
                xi.copy_(tau * xi + (1 - tau) * theta)
