"""The head `prototypes`: scores of learnt directions, the projector of SwAV and DINO."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.heads.mlp import MLP
from ssl_zoo.parts import Head
from ssl_zoo.registry import register

Width = Annotated[int, Field(ge=1)]


class WeightNormed(nn.Module):
    """A linear layer without bias whose rows are length times unit direction (Salimans & Kingma 2016).

    Args:
        in_dim: width of the input.
        out_dim: number of rows.
        learn_length: whether the lengths are trained; they start at 1.
    """

    def __init__(self, in_dim: int, out_dim: int, learn_length: bool):
        super().__init__()
        self.direction = nn.Parameter(nn.Linear(in_dim, out_dim, bias=False).weight.detach())
        self.length = nn.Parameter(torch.ones(out_dim, 1), requires_grad=learn_length)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, out_dim)` for x `(B, in_dim)`."""
        return F.linear(x, self.length * F.normalize(self.direction, dim=1))


@register("head", "prototypes")
class Prototypes(Head):
    """An MLP, l2 normalisation, and a linear layer with rows of unit length: z is the score of each prototype.

    SwAV (Caron et al. 2020, arXiv 2006.09882) and DINO (Caron et al. 2021, arXiv 2104.14294). The scores are cosines,
    in [-1, 1], unless the lengths learn. A parameter group may name `projector.last`, the prototypes alone.

    Args:
        in_dim: width of the input.
        dims: width of each layer of the MLP; the last is the width that prototypes live in.
        num: how many prototypes; the width of the head.
        norm: norm after each hidden layer.
        bias: whether hidden linear layers have a bias.
        last_bias: whether the MLP's last layer has one.
        activation: after each hidden layer.
        init: `default`, torch's; or `truncated_normal`, std 0.02 and no bias at first, as in DINO's MLP.
        unit: how the rows keep length 1: `renormalised` after each optimizer step (SwAV) or by `weight_norm` (DINO).
        learn_length: with `weight_norm`, whether the lengths are trained.

    Shapes: `(B, in_dim)` -> `(B, num)`.
    """

    depends_on_length = False

    def __init__(
        self,
        in_dim: int,
        *,
        dims: Annotated[list[Width], Field(min_length=1)] = [2048, 128],  # noqa: B006 - an option's default, never mutated
        num: Width = 3000,
        norm: Literal["batch", "layer", "none"] = "batch",
        bias: bool = True,
        last_bias: bool = True,
        activation: Literal["relu", "gelu"] = "relu",
        init: Literal["default", "truncated_normal"] = "default",
        unit: Literal["renormalised", "weight_norm"] = "renormalised",
        learn_length: bool = False,
    ):
        super().__init__()
        self.mlp = MLP(in_dim, dims=dims, norm=norm, bias=bias, activation=activation, last_bias=last_bias)
        if init == "truncated_normal":
            for layer in self.mlp:
                if isinstance(layer, nn.Linear):
                    nn.init.trunc_normal_(layer.weight, std=0.02)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
        normed = unit == "weight_norm"
        self.last = WeightNormed(dims[-1], num, learn_length) if normed else nn.Linear(dims[-1], num, bias=False)
        self.in_dim, self.out_dim = in_dim, num
        self._renormalise()

    @torch.no_grad()
    def _renormalise(self) -> None:
        if isinstance(self.last, nn.Linear):
            self.last.weight.copy_(F.normalize(self.last.weight, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores `(B, num)` of features `(B, in_dim)`."""
        return self.last(F.normalize(self.mlp(x), dim=1))

    def after_step(self, progress: float) -> None:
        """Bring the rows back to unit length, with `unit: renormalised`."""
        self._renormalise()
