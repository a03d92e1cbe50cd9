"""What `fsdp` gathers at a time and rounds, and which networks take several views in one pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ssl_zoo import registry
from ssl_zoo.distributed.batch_norm import to_global
from ssl_zoo.distributed.one_pass import is_exact
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.units import LARGE, units
from ssl_zoo.errors import UserError
from ssl_zoo.heads.iterative_norm import IterativeNorm
from ssl_zoo.heads.mlp import MLP


class Scaled(nn.Module):
    """A block with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(4, 4), nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.scale


def test_blocks_and_large_layers_are_units() -> None:
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm(4, elementwise_affine=False))
    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)))
    with torch.device("meta"):
        head, tied = MLP(2048, dims=[2048, 2048, 64]), nn.Linear(2048, 2048)
        tied_too = nn.Linear(2048, 2048)
        tied_too.weight = tied.weight
    blocks = nn.ModuleList([block, Scaled(), normed])
    method = nn.ModuleDict({"encoder": blocks, "head": head, "tied": nn.Sequential(tied, tied_too)})
    found = list(units(method))
    assert head[0].weight.numel() == LARGE
    assert [each.module for each in found] == [block, blocks[1], normed[0], head[0], head[3]]
    assert [each.is_rounded for each in found] == [True, False, False, True, True]
    assert found[0].norms == (block[1],)


@pytest.mark.parametrize(
    ("network", "exact"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Dropout()), True),
        (nn.Sequential(nn.BatchNorm1d(3)), False),
        (IterativeNorm(4), False),
        (Scaled(), False),
    ],
)
def test_networks_that_may_mix_samples_take_a_pass_for_each_view(network: nn.Module, exact: bool) -> None:
    assert is_exact(network) == exact


def test_batch_norm_over_all_processes_and_modules_that_say_so_do_not_mix_views() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), Scaled())
    to_global(network)
    assert not is_exact(network)
    network[1].mixes_samples = False
    assert is_exact(network)


def test_offload_is_not_for_fp16() -> None:
    device = torch.device("cpu")
    context: dict[str, Any] = {"device": device, "precision": Precision("fp16", device), "num_processes": 2}
    with pytest.raises(UserError, match="offload: not with training.precision=fp16"):
        registry.build("strategy", "fsdp", {"offload": True}, **context)


def test_a_torch_that_cannot_shard_on_a_cpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    monkeypatch.delattr(torch.cpu.Stream, "record_event")
    with pytest.raises(UserError, match="fsdp on a CPU needs a torch after .*; upgrade it, or use ddp"):
        registry.build("strategy", "fsdp", device=device, precision=Precision("fp32", device), num_processes=2)
