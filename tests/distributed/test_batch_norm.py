"""BatchNorm over all processes is BatchNorm of the whole batch, and plain BatchNorm wherever it can be (T15, T42)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo.distributed.batch_norm import GlobalBatchNorm, to_global, to_plain
from ssl_zoo.errors import UserError
from tests.distributed.group import meet, run_group

SHAPES = {"1d": (12, 5), "1d long": (12, 5, 7), "2d": (12, 5, 4, 3), "3d": (12, 5, 2, 3, 2)}
LAYERS = {"1d": nn.BatchNorm1d, "1d long": nn.BatchNorm1d, "2d": nn.BatchNorm2d, "3d": nn.BatchNorm3d}
OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "no affine": {"affine": False},
    "cumulative": {"momentum": None},
    "no running": {"track_running_stats": False},
}
CASES = [(shape, options) for shape in SHAPES for options in OPTIONS]


def layer_of(shape: str, options: str, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(3)
    norm = LAYERS[shape](5, **OPTIONS[options])
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return nn.Sequential(norm).to(dtype)


def inputs(shape: str, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Two batches whose samples drift, so that a shard's statistics are not the whole's."""
    g = torch.Generator().manual_seed(4)
    drift = torch.linspace(-3, 3, 12).view(-1, *[1] * (len(SHAPES[shape]) - 1))
    return [(torch.randn(SHAPES[shape], generator=g) + drift).to(dtype) for _ in range(2)]


def use(layer: nn.Sequential, batches: list[Tensor], rank: int = 0, size: int = 1, autocast: bool = False) -> Any:
    """Return outputs, gradients of the inputs and of the weights, state, and outputs in evaluation mode."""
    rows = slice(rank * 12 // size, (rank + 1) * 12 // size)
    own = [x[rows].clone().requires_grad_() for x in batches]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs = [layer(x) for x in own]
    sum((y.float() if autocast else y).pow(3).sum() for y in outputs).backward()
    found = {"y": [y.detach() for y in outputs], "x.grad": [x.grad for x in own]}
    found["w.grad"] = [p.grad for p in layer.parameters()]
    found["state"] = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.eval()
    found["eval"] = [layer(x[rows].detach()) for x in batches] if layer[0].track_running_stats else []
    return found


def work(folder: Path, rank: int, size: int) -> dict[str, Any]:
    meet(folder, rank, size)
    results = {}
    for shape, options in CASES:
        layer = layer_of(shape, options)
        to_global(layer)
        results[shape, options] = use(layer, inputs(shape), rank, size)
    layer = layer_of("2d", "usual", torch.float32)
    to_global(layer)
    results["autocast"] = use(layer, inputs("2d", torch.bfloat16), rank, size, autocast=True)
    shifted = [x.float() + 1000 for x in inputs("2d")]
    layer = layer_of("2d", "no affine", torch.float32)
    to_global(layer)
    results["large mean"] = use(layer, shifted, rank, size)
    return results


@pytest.fixture(scope="module")
def groups() -> dict[int, list[Any]]:
    return {size: run_group(size, work) for size in (2, 3)}


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> bool:
    return bool((ours - theirs).norm() <= tolerance * theirs.norm().clamp_min(1e-3))


@pytest.mark.parametrize("size", (2, 3))
@pytest.mark.parametrize(("shape", "options"), CASES)
def test_global_norm_is_the_norm_of_the_whole_batch(
    groups: dict[int, list[Any]], size: int, shape: str, options: str
) -> None:
    whole = use(layer_of(shape, options), inputs(shape))
    found = [each[shape, options] for each in groups[size]]
    for kind in ("y", "x.grad", "eval"):
        for number, value in enumerate(whole[kind]):
            assert close(torch.cat([each[kind][number] for each in found]), value), kind
    for number, value in enumerate(whole["w.grad"]):
        assert close(sum(each["w.grad"][number] for each in found), value)
    for each in found:
        assert each["state"].keys() == whole["state"].keys()
        for name, value in whole["state"].items():
            assert close(each["state"][name].double(), value.double()), name
            assert torch.equal(each["state"][name], found[0]["state"][name])


@pytest.mark.parametrize("size", (2, 3))
def test_under_autocast_statistics_are_float32(groups: dict[int, list[Any]], size: int) -> None:
    batches = inputs("2d", torch.bfloat16)
    whole = use(layer_of("2d", "usual", torch.float32), [x.float() for x in batches])
    found = [each["autocast"] for each in groups[size]]
    assert found[0]["y"][0].dtype == torch.bfloat16
    for number, value in enumerate(whole["y"]):
        assert close(torch.cat([each["y"][number] for each in found]).float(), value, 2**-8)  # bfloat16's last bit
    for name, value in whole["state"].items():
        assert close(found[0]["state"][name].float(), value.float(), 1e-6), name


@pytest.mark.parametrize("size", (2, 3))
def test_a_large_mean_costs_no_precision(groups: dict[int, list[Any]], size: int) -> None:
    exact = use(layer_of("2d", "no affine"), [(x.float() + 1000).double() for x in inputs("2d")])
    for number, value in enumerate(exact["y"]):
        found = torch.cat([each["large mean"]["y"][number] for each in groups[size]])
        assert close(found.double(), value, 1e-4)


@pytest.mark.parametrize(("shape", "options"), CASES)
def test_with_one_process_it_is_plain_batchnorm_bit_for_bit(shape: str, options: str) -> None:
    plain, ours = layer_of(shape, options), layer_of(shape, options)
    to_global(ours)
    assert type(ours[0]) is GlobalBatchNorm
    a, b = use(plain, inputs(shape)), use(ours, inputs(shape))
    for kind in ("y", "x.grad", "w.grad", "eval"):
        assert all(torch.equal(x, y) for x, y in zip(a[kind], b[kind], strict=True))
    assert all(torch.equal(a["state"][name], value) for name, value in b["state"].items())


def test_to_plain_gives_back_the_layers_with_their_state() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Sequential(nn.BatchNorm2d(3)), nn.SyncBatchNorm(2))
    parameters = list(model.parameters())
    to_global(model)
    assert [type(m) for m in model.modules() if isinstance(m, GlobalBatchNorm)] == [GlobalBatchNorm] * 2
    assert type(model[3]) is nn.SyncBatchNorm
    model[1](torch.randn(6, 5))
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        model[1](torch.randn(6, 5, 4, 4))
    state = model.state_dict()
    to_plain(model)
    assert type(model[1]) is nn.BatchNorm1d and type(model[2][0]) is nn.BatchNorm2d
    assert "plain" not in vars(model[1])
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_a_layer_that_does_more_than_normalise_is_refused() -> None:
    class WithActivation(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).relu()

    with pytest.raises(UserError, match="norm: 1 is a WithActivation.*norm=local"):
        to_global(nn.Sequential(nn.ReLU(), WithActivation(3)))
