"""Heads against the table of layers in the papers (T10)."""

import pytest
import torch
from torch import nn

from ssl_zoo import registry
from ssl_zoo.heads.mlp import MLP, Identity, Linear
from ssl_zoo.recipe.load import load_recipe


def layers(head: nn.Module) -> list[str]:
    names = []
    for layer in head:
        if isinstance(layer, nn.Linear):
            names.append(f"{layer.in_features}-{layer.out_features}" + ("b" if layer.bias is not None else ""))
        elif isinstance(layer, nn.BatchNorm1d):
            names.append("bn" + ("" if layer.affine else "-plain"))
        else:
            names.append(type(layer).__name__.lower())
    return names


TABLE = {
    ("simsiam", "projector"): "2048-2048 bn relu 2048-2048 bn relu 2048-2048 bn-plain",
    ("simsiam", "predictor"): "2048-512 bn relu 512-2048b",
    ("byol", "projector"): "2048-4096b bn relu 4096-256",
    ("byol", "predictor"): "256-4096b bn relu 4096-256",
    ("barlow_twins", "projector"): "2048-8192 bn relu 8192-8192 bn relu 8192-8192",
    ("vicreg", "projector"): "2048-8192b bn relu 8192-8192b bn relu 8192-8192",
}


@pytest.mark.parametrize(("method", "which"), TABLE)
def test_heads_are_those_of_the_papers(method: str, which: str) -> None:
    part = getattr(load_recipe(method), which)
    width = 2048 if which == "projector" else load_recipe(method).projector.options["dims"][-1]
    with torch.device("meta"):
        head = registry.build("head", part.name, part.options, in_dim=width)
    assert " ".join(layers(head)) == TABLE[method, which]


def test_norms_are_independent_instances() -> None:
    norms = [m for m in MLP(4, dims=[4, 4, 4], last_norm="batch") if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == len({id(m) for m in norms}) == 3


def test_widths() -> None:
    assert MLP(5, dims=[7, 3]).out_dim == 3 and MLP(5, dims=[7, 3])(torch.randn(2, 5)).shape == (2, 3)
    assert Linear(5).out_dim == 5 and Linear(5, dim=2)(torch.randn(2, 5)).shape == (2, 2)
    x = torch.randn(2, 5)
    assert Identity(5).out_dim == 5 and Identity(5)(x) is x
    assert "layernorm" in layers(MLP(5, dims=[7, 3], norm="layer", activation="gelu"))
