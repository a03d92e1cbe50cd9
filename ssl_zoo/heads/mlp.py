"""Projectors and predictors: `mlp`, `linear`, `identity`.

One head class with every choice explicit, because a bias or an affine that a paper's code does not have costs points
(widths, norm, bias and affine of the hidden layers, and what the last layer has).
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.heads.iterative_norm import IterativeNorm
from ssl_zoo.parts import Head
from ssl_zoo.registry import register

Norm = Literal["batch", "layer", "none"]
LastNorm = Literal["batch", "layer", "iterative", "none"]
Width = Annotated[int, Field(ge=1)]


def _norm(kind: LastNorm, width: int, affine: bool) -> list[nn.Module]:
    if kind == "batch":
        return [nn.BatchNorm1d(width, affine=affine)]
    if kind == "layer":
        return [nn.LayerNorm(width, elementwise_affine=affine)]
    if kind == "iterative":
        return [IterativeNorm(width)]
    return []


@register("head", "mlp")
class MLP(nn.Sequential):
    """Linear layers with a norm and an activation between them.

    Hidden layers are Linear - norm - activation; the last one is Linear, then a norm where `last_norm` is one.

    Args:
        in_dim: width of the input.
        dims: width of each layer's output; the last is the width of the head.
        norm: norm after each hidden layer.
        bias: whether hidden linear layers have a bias.
        affine: whether hidden norms learn a scale and a shift.
        activation: after each hidden norm.
        last_norm: norm after the last layer; `iterative` is VIbCReg's `IterativeNorm`, which learns nothing.
        last_bias: whether the last linear layer has a bias.
        last_affine: whether the last norm learns a scale and a shift.

    Shapes: `(B, in_dim)` -> `(B, dims[-1])`.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        dims: Annotated[list[Width], Field(min_length=1)] = [2048, 2048],  # noqa: B006 - an option's default, never mutated
        norm: Norm = "batch",
        bias: bool = False,
        affine: bool = True,
        activation: Literal["relu", "gelu"] = "relu",
        last_norm: LastNorm = "none",
        last_bias: bool = True,
        last_affine: bool = True,
    ):
        layers: list[nn.Module] = []
        width = in_dim
        for hidden in dims[:-1]:
            layers += [nn.Linear(width, hidden, bias=bias), *_norm(norm, hidden, affine)]
            layers.append(nn.ReLU(inplace=True) if activation == "relu" else nn.GELU())
            width = hidden
        layers += [nn.Linear(width, dims[-1], bias=last_bias), *_norm(last_norm, dims[-1], last_affine)]
        super().__init__(*layers)
        self.in_dim, self.out_dim = in_dim, dims[-1]


@register("head", "linear")
class Linear(nn.Linear):
    """One linear layer.

    Args:
        in_dim: width of the input.
        dim: width of the output; None keeps the input's.
        bias: whether it has a bias.

    Shapes: `(B, in_dim)` -> `(B, dim)`.
    """

    def __init__(self, in_dim: int, *, dim: Width | None = None, bias: bool = True):
        super().__init__(in_dim, dim or in_dim, bias=bias)
        self.in_dim, self.out_dim = in_dim, dim or in_dim


@register("head", "identity")
class Identity(Head):
    """No head: what comes in goes out.

    Args:
        in_dim: width of the input and of the output.
    """

    def __init__(self, in_dim: int):
        super().__init__()
        self.in_dim = self.out_dim = in_dim

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x
