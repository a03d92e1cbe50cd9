"""Schedules, parameter groups and optimizers."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from ssl_zoo.distributed.batch_norm import to_global
from ssl_zoo.errors import UserError
from ssl_zoo.optim.group_rules import Group
from ssl_zoo.optim.lars import lars, repeated
from ssl_zoo.optim.optimizers import adam, adamw, sgd
from ssl_zoo.optim.param_groups import parameter_groups
from ssl_zoo.optim.schedules import Schedule, constant, cosine, step_decay


def test_warmup_rises_linearly_and_joins_the_cosine_without_a_jump() -> None:
    schedule = Schedule(total_steps=100, warmup_steps=10, final=0.0)
    values = [schedule(step) for step in range(100)]
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[9] == values[10] == 1.0 and values[99] == pytest.approx(0.0, abs=1e-15)
    assert all(a >= b for a, b in zip(values[10:], values[11:], strict=False))
    assert max(abs(a - b) for a, b in zip(values, values[1:], strict=False)) <= 0.1 + 1e-12


@pytest.mark.parametrize("final", [0.0, 0.001, 0.5])
def test_the_last_step_has_the_final_value(final: float) -> None:
    assert cosine(50, 10, warmup_epochs=1, final=final)(49) == pytest.approx(final)
    assert cosine(50, 10, final=final)(0) == 1.0


def test_warmup_as_long_as_the_run() -> None:
    schedule = cosine(20, 10, warmup_epochs=2)
    assert [schedule(step) for step in (0, 9, 19)] == pytest.approx([1 / 20, 0.5, 1.0])
    assert cosine(20, 10, warmup_epochs=5)(19) == pytest.approx(1.0)


def test_constant_and_single_step_runs() -> None:
    assert {constant(10, 5)(step) for step in range(10)} == {1.0}
    assert cosine(1, 1)(0) == 1.0


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.predictor = nn.Linear(3, 3)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)


def by_name(groups: list[dict]) -> dict[str, dict]:
    return {name: group for group in groups for name in group["names"]}


def test_groups_select_components_biases_and_norms() -> None:
    rules = (
        Group(of=("bias", "norm"), weight_decay=0.0, adapt=False, lr_scale=0.5),
        Group(of=("predictor",), schedule="constant"),
    )
    groups = by_name(parameter_groups(Net(), rules))
    assert set(groups) == {
        "encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias",
        "predictor.weight", "predictor.bias",
    }  # fmt: skip
    assert "weight_decay" not in groups["encoder.0.weight"] and groups["encoder.0.weight"]["lr_scale"] == 1.0
    for name in ("encoder.0.bias", "encoder.1.weight", "encoder.1.bias", "predictor.bias"):
        assert groups[name]["weight_decay"] == 0.0 and groups[name]["adapt"] is False
        assert groups[name]["lr_scale"] == 0.5
    assert groups["predictor.weight"]["constant"] and groups["predictor.bias"]["constant"]
    assert not groups["encoder.0.bias"]["constant"]


@pytest.mark.parametrize("turn", [to_global, nn.SyncBatchNorm.convert_sync_batchnorm])
def test_norms_over_all_processes_are_norms(turn: Callable[[nn.Module], object]) -> None:
    net = Net()
    turn(net)
    groups = by_name(parameter_groups(net, (Group(of=("norm",), weight_decay=0.0),)))
    assert [name for name, group in groups.items() if "weight_decay" in group] == ["encoder.1.weight", "encoder.1.bias"]


def test_decay_and_adaptation_are_switched_separately() -> None:
    rules = (Group(of=("norm",), weight_decay=0.0), Group(of=("bias",), adapt=False))
    groups = by_name(parameter_groups(Net(), rules))
    assert "adapt" not in groups["encoder.1.weight"] and groups["encoder.1.weight"]["weight_decay"] == 0.0
    assert "weight_decay" not in groups["encoder.0.bias"] and groups["encoder.0.bias"]["adapt"] is False


def test_a_rule_for_nothing_is_an_error() -> None:
    with pytest.raises(UserError, match=r"training.groups.0.of: .*'predicter'; did you mean 'predictor'"):
        parameter_groups(Net(), (Group(of=("predicter",)),))


def one(weight: list[float], **group: object) -> tuple[nn.Parameter, list[dict]]:
    w = nn.Parameter(torch.tensor(weight))
    return w, [{"params": [w], "names": ["w"], "lr_scale": 1.0, "constant": False, **group}]


def test_lars_by_hand() -> None:
    w, groups = one([3.0, 4.0])
    optimizer = lars(groups, momentum=0.5, weight_decay=0.0, trust=0.01)
    optimizer.param_groups[0]["lr"] = 2.0
    w.grad = torch.tensor([0.0, 10.0])
    optimizer.step()  # |w| = 5, |g| = 10: g is scaled by 0.01 * 5 / 10
    torch.testing.assert_close(w.data, torch.tensor([3.0, 4.0 - 2.0 * 0.05]))
    size = w.detach().norm()
    w.grad = torch.tensor([0.0, 10.0])
    before = w.detach().clone()
    optimizer.step()  # velocity 0.5 * 0.05 + 0.01 * |w|
    torch.testing.assert_close(w.data, before - 2.0 * torch.tensor([0.0, 0.5 * 0.05 + 0.01 * size.item()]))


def test_lars_without_adaptation_is_sgd() -> None:
    w, groups = one([3.0, 4.0], adapt=False)
    v, others = one([3.0, 4.0])
    ours, theirs = lars(groups, weight_decay=0.1), sgd(others, weight_decay=0.1)
    for optimizer, p in ((ours, w), (theirs, v)):
        optimizer.param_groups[0]["lr"] = 0.3
        for _ in range(3):
            p.grad = p.detach() * 2
            optimizer.step()
    torch.testing.assert_close(w, v)


def test_lars_of_zero_weights_or_gradients_moves_unscaled() -> None:
    w, groups = one([0.0, 0.0])
    optimizer = lars(groups)
    optimizer.param_groups[0]["lr"] = 1.0
    w.grad = torch.tensor([1.0, 0.0])
    optimizer.step()
    torch.testing.assert_close(w.data, torch.tensor([-1.0, 0.0]))


def test_optimizers_take_groups_with_keys_of_others() -> None:
    for make in (sgd, adamw):
        _, groups = one([1.0], adapt=False, weight_decay=0.5)
        assert make(groups).param_groups[0]["weight_decay"] == 0.5


def test_lars_with_clip_is_the_smaller_of_the_rate_and_the_trust_ratio() -> None:
    w, groups = one([3.0, 4.0])
    optimizer = lars(groups, momentum=0.0, trust=0.01, clip=True)
    optimizer.param_groups[0]["lr"] = 2.0
    w.grad = torch.tensor([0.0, 10.0])
    optimizer.step()  # trust |w| / |g| = 0.005 < lr
    torch.testing.assert_close(w.data, torch.tensor([3.0, 4.0 - 0.005 * 10.0]))
    optimizer.param_groups[0]["lr"] = 0.001
    before = w.detach().clone()
    optimizer.step()  # now lr is the smaller
    torch.testing.assert_close(w.data, before - torch.tensor([0.0, 0.001 * 10.0]))
    optimizer.param_groups[0]["lr"] = 0.0
    before = w.detach().clone()
    optimizer.step()
    assert torch.equal(w.data, before)


def test_adams_weight_decay_is_inside_the_gradient() -> None:
    w = nn.Parameter(torch.tensor([2.0, -3.0]))
    optimizer = adam([{"params": [w], "adapt": False}], weight_decay=0.5)
    optimizer.param_groups[0]["lr"] = 0.1
    w.grad = torch.zeros(2)
    optimizer.step()  # g = 0.5 w; the first step of Adam is lr * sign(g)
    torch.testing.assert_close(w.data, torch.tensor([1.9, -2.9]), rtol=0, atol=1e-6)


def test_the_rate_drops_before_the_end_after_a_warmup() -> None:
    schedule = step_decay(100, 10, before_end=[5.0, 2.5], factor=0.2, warmup_epochs=1.0)
    values = [schedule(step) for step in range(100)]
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10:50] == [1.0] * 40
    assert values[50:75] == pytest.approx([0.2] * 25) and values[75:] == pytest.approx([0.04] * 25)


def test_without_warmup_and_in_a_run_shorter_than_the_step_decay() -> None:
    assert step_decay(10, 10, before_end=[0.5])(0) == 1.0
    assert step_decay(10, 10, before_end=[50.0, 25.0])(0) == pytest.approx(0.04)


def weights_and_gradients(step: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    g = torch.Generator().manual_seed(step)
    shapes = [(5, 3, 2, 2), (5,), (4, 5), (0, 3), (6,)]
    weights, gradients = ([torch.randn(shape, generator=g) for shape in shapes] for _ in range(2))
    weights[0] = weights[0].to(memory_format=torch.channels_last)
    weights[4].zero_()
    return weights, gradients


@pytest.mark.parametrize("clip", [False, True])
def test_lars_is_that_of_one_weight_after_the_other_bit_for_bit(clip: bool) -> None:
    ours = [nn.Parameter(w.clone()) for w in weights_and_gradients(0)[0]]
    theirs = [w.detach().clone() for w in ours]
    velocity = [torch.zeros_like(w) for w in theirs]
    settings = [{"weight_decay": 1e-3}, {"weight_decay": 0.0, "adapt": False}]
    optimizer = lars(
        [{**settings[0], "params": ours[:3]}, {**settings[1], "params": ours[3:]}], trust=0.01, momentum=0.9, clip=clip
    )
    for step, lr in enumerate((0.3, 0.0, 1.7), start=1):
        for w, g in zip(ours, weights_and_gradients(step)[1], strict=True):
            w.grad = g.clone()
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        for i, (w, v, g) in enumerate(zip(theirs, velocity, weights_and_gradients(step)[1], strict=True)):
            adapt, decay = i < 3, settings[i >= 3]["weight_decay"]
            g = g + decay * w
            if adapt:
                ratio = 0.01 * w.norm() / g.norm()
                ratio = ((ratio / lr).clamp(max=1) if lr else torch.tensor(1.0)) if clip else ratio
                g = g * ratio
            v.mul_(0.9).add_(g)
            w.add_(v, alpha=-lr)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(torch.equal(optimizer.state[a]["momentum_buffer"], v) for a, v in zip(ours, velocity, strict=True))


def test_a_factor_of_each_weight_repeated_to_its_size_gives_the_same_products() -> None:
    """As on a GPU, where a list is multiplied by a list of the same shapes at once."""
    tensors = [*weights_and_gradients(0)[0], torch.randn(3, 4).T.contiguous()]
    factors = torch.rand(len(tensors), generator=torch.Generator().manual_seed(0)) + 0.1
    spread = repeated(factors, tensors)
    assert [x.stride() for x in spread] == [x.stride() for x in tensors] and len(spread) == 6
    once = torch._foreach_mul(tensors, list(factors.unbind()))
    assert all(map(torch.equal, torch._foreach_mul(tensors, spread), once))


@pytest.mark.parametrize("make", [sgd, adam, adamw])
def test_how_a_step_is_computed_is_of_the_device_and_not_of_a_checkpoint(make: Callable) -> None:
    w, groups = one([1.0, 2.0])
    optimizer = make(groups)
    w.grad = torch.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    state["param_groups"][0] |= {"fused": True, "foreach": False}  # as one of a GPU says
    other = make(one([1.0, 2.0])[1])
    how = {key: other.param_groups[0][key] for key in ("fused", "foreach")}
    other.load_state_dict(state)
    assert {key: other.param_groups[0][key] for key in how} == how and not how["fused"]
    assert str(other.state_dict()["state"]) == str(optimizer.state_dict()["state"])
