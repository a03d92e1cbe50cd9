"""Frozen beginnings and the schedule of the weight decay, alone and in a training."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ssl_zoo import train
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build_encoder
from ssl_zoo.optim.group_rules import Group
from ssl_zoo.optim.optimizers import adamw, sgd
from ssl_zoo.optim.param_groups import freeze, parameter_groups, plan, set_decay
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.encoder import load_encoder


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(2, 3)
        self.projector = nn.ModuleDict({"mlp": nn.Linear(3, 3), "last": nn.Linear(3, 4, bias=False)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.projector["last"](self.projector["mlp"](self.encoder(x)))


def test_a_rule_can_name_a_module_inside_a_component() -> None:
    rules = (Group(of=("projector",), lr_scale=0.1), Group(of=("projector.last",), frozen_epochs=2))
    groups = parameter_groups(Net(), rules)
    by_name = {name: group for group in groups for name in group["names"]}
    last, mlp = by_name["projector.last.weight"], by_name["projector.mlp.weight"]
    assert last["frozen_epochs"] == 2 and last["lr_scale"] == mlp["lr_scale"] == 0.1
    assert "frozen_epochs" not in mlp
    assert by_name["encoder.weight"]["lr_scale"] == 1.0


def test_an_unknown_module_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="training.groups.0.of: .*'projector.lost'; did you mean 'projector.last'"):
        parameter_groups(Net(), (Group(of=("projector.lost",), frozen_epochs=1),))


def test_a_frozen_group_moves_from_its_step_on_and_the_rest_always() -> None:
    net = Net()
    groups = plan(parameter_groups(net, (Group(of=("projector.last",), frozen_epochs=0.5),)), steps_per_epoch=4)
    optimizer = sgd(groups, momentum=0.9, weight_decay=0.1)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    moved = []
    for step in range(4):
        before = [net.projector["last"].weight.clone(), net.encoder.weight.clone()]
        optimizer.zero_grad()
        net(torch.ones(5, 2)).square().sum().backward()
        freeze(optimizer.param_groups, step)
        optimizer.step()
        now = [net.projector["last"].weight, net.encoder.weight]
        moved.append([not torch.equal(a, b) for a, b in zip(before, now, strict=True)])
    assert moved == [[False, True], [False, True], [True, True], [True, True]]


def test_weight_decay_goes_along_half_a_cosine_except_where_a_rule_sets_it() -> None:
    groups = plan(parameter_groups(Net(), (Group(of=("bias",), weight_decay=0.0),)), 4, decay=0.04, final_decay=0.4)
    optimizer = adamw(groups, weight_decay=0.04)
    seen = []
    for step in range(11):
        set_decay(optimizer.param_groups, step, total_steps=11)
        by_name = {name: group["weight_decay"] for group in optimizer.param_groups for name in group["names"]}
        assert by_name["encoder.bias"] == by_name["projector.mlp.bias"] == 0.0
        seen.append(by_name["encoder.weight"])
    assert seen[0] == pytest.approx(0.04) and seen[5] == pytest.approx(0.22) and seen[10] == pytest.approx(0.4)
    assert seen == sorted(seen)


def test_without_a_final_weight_decay_nothing_changes() -> None:
    optimizer = adamw(plan(parameter_groups(Net(), ()), 4, decay=0.04), weight_decay=0.04)
    set_decay(optimizer.param_groups, 7, total_steps=10)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.04]


def test_the_plan_survives_the_optimizers_state_dict() -> None:
    groups = plan(parameter_groups(Net(), (Group(of=("projector.last",), frozen_epochs=1),)), 4, 0.04, 0.4)
    optimizer, other = adamw(groups, weight_decay=0.04), adamw(groups, weight_decay=0.04)
    other.load_state_dict(optimizer.state_dict())
    assert [g["frozen_steps"] for g in other.param_groups] == [g["frozen_steps"] for g in optimizer.param_groups]
    assert all(tuple(g["decay"]) == (0.04, 0.4) for g in other.param_groups)


@pytest.mark.parametrize("frozen", [True, False])
def test_in_a_run_a_frozen_encoder_stays_what_it_was(frozen: bool, tmp_path: Path) -> None:
    overrides = ["training.max_steps=2", "evaluation.limit=50", "evaluation.protocols=knn"]
    overrides.append("evaluation.baselines=false")
    if frozen:
        overrides.append("training.groups=[{of: [encoder], frozen_epochs: 1}]")
    recipe = load_recipe("digits/simsiam", [*overrides, "training.batch_size=16", "training.final_weight_decay=0.1"])
    train(recipe, out=tmp_path / "run", log=lambda line: None)
    first, last = build_encoder(recipe), load_encoder(tmp_path / "run")
    moved = [not torch.equal(a, b) for a, b in zip(first.parameters(), last.parameters(), strict=True)]
    assert not any(moved) if frozen else all(moved)
