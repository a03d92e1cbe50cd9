"""Strategies are parts: a user's own trains as the built-in ones do, and every process takes part in its state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from ssl_zoo import registry
from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.distributed.ddp import Replicated
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.single import Single
from ssl_zoo.distributed.strategy import MakeOptimizer, Strategy
from ssl_zoo.errors import UserError
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.train import train
from tests.distributed.group import run_group
from tests.distributed.jobs import join

PLUGIN = '''
from ssl_zoo import registry

@registry.register("strategy", "wrapped")
class Wrapped:
    """Another strategy, which does all the work.

    Args:
        inner: its name.
    """

    def __init__(self, device, precision, num_processes, *, inner: str = "single"):
        context = {"device": device, "precision": precision, "num_processes": num_processes}
        self.inner = registry.build("strategy", inner, **context)
        self.device, self.has_whole_state = device, self.inner.has_whole_state

    def prepare(self, method, make_optimizer):
        return self.inner.prepare(method, make_optimizer)

    def forward_backward(self, batch, num_parts, last):
        return self.inner.forward_backward(batch, num_parts, last)

    def step(self, max_norm):
        return self.inner.step(max_norm)

    def state(self):
        return self.inner.state()

    def load(self, state):
        self.inner.load(state)

    def gathered(self, encoder):
        return self.inner.gathered(encoder)
'''


class Renewed(Single):
    """Puts new parameters in the place of the old ones before the optimizer is made, as sharding does."""

    def prepare(self, method: nn.Module, make_optimizer: MakeOptimizer) -> Optimizer:
        fresh: dict[nn.Parameter, nn.Parameter] = {}
        for module in list(method.modules()):
            for name, old in list(module.named_parameters(recurse=False)):
                new = fresh.setdefault(old, nn.Parameter(old.detach().clone(), old.requires_grad))
                setattr(module, name, new)
        return super().prepare(method, make_optimizer)


class Collective(Replicated):
    """Its state, and whole weights, need all processes, as those of shards do."""

    has_whole_state = False

    def state(self) -> dict[str, Any]:
        dist.barrier()
        return super().state() if dist.get_rank() == 0 else {}

    def load(self, state: Mapping[str, Any]) -> None:
        dist.barrier()
        super().load(state)

    def gathered(self, encoder: nn.Module) -> nn.Module:
        dist.barrier()
        return encoder if dist.get_rank() == 0 else nn.Identity()


def collective_runs(folder: Path, rank: int, size: int, out: Path) -> dict[str, Any]:
    """Train by a strategy with collective state: in one go with many checkpoints, and stopped and resumed."""
    from tests.distributed.noise import on_noise

    registry.register("strategy", "collective")(Collective)
    join(folder, rank, size)
    recipe = on_noise("byol", max_steps=4, log_every=1, checkpoint_minutes=1e-9, strategy="collective")
    train(recipe, out=out / "halves", stop_at=2, log=lambda line: None)
    return {
        "whole": train(recipe, out=out / "whole", log=lambda line: None),
        "resumed": train(recipe, out=out / "halves", resume=True, log=lambda line: None),
    }


def weights(out: Path, *sets: str) -> dict[str, Tensor]:
    """Return the weights after a short run on digits."""
    small = ["encoder=convnet", "encoder.widths=[4, 6]", "views.channels=1", "views.size=8", "views.grey=0",
             "training.batch_size=8", "training.accumulate=2", "training.max_steps=3", "projector.dims=[8, 8]",
             "predictor.dims=[4, 8]", "evaluation.protocols=[label_free]", "evaluation.limit=20",
             "evaluation.baselines=false"]  # fmt: skip
    recipe = load_recipe("simsiam", [*small, *sets], data="digits")
    assert train(recipe, out=out, log=lambda line: None)["status"] == "done"
    return checkpoint.load(RunFolder(out).checkpoint)["method"]


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return weights(tmp_path_factory.mktemp("single") / "run", "training.strategy=single")


def test_a_users_own_strategy_is_one_file(
    single: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_strategy.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    registry.import_user_module("own_strategy")
    assert equal(weights(tmp_path / "run", "training.strategy=wrapped"), single)
    with pytest.raises(UserError, match="unknown strategy 'wraped'; did you mean 'wrapped'"):
        load_recipe("simsiam", ["training.strategy=wraped"])


def test_one_process_trains_alike_by_auto_and_by_ddp(single: dict[str, Tensor], tmp_path: Path) -> None:
    assert equal(weights(tmp_path / "auto"), single)
    assert equal(weights(tmp_path / "ddp", "training.strategy=ddp"), single)


def test_the_optimizer_is_made_after_the_parameters(single: dict[str, Tensor], tmp_path: Path) -> None:
    registry.register("strategy", "renewed")(Renewed)
    assert equal(weights(tmp_path / "run", "training.strategy=renewed"), single)


def test_single_refuses_several_processes() -> None:
    device = torch.device("cpu")
    context: dict[str, Any] = {"device": device, "precision": Precision("fp32", device), "num_processes": 2}
    with pytest.raises(UserError, match="training.strategy: single trains in one process, and there are 2"):
        registry.build("strategy", "single", **context)
    assert isinstance(registry.build("strategy", "auto", **context), Replicated)


def test_all_processes_take_part_in_a_collective_state(tmp_path: Path) -> None:
    first, second = run_group(2, collective_runs, tmp_path)
    assert first == second
    assert {name: (run["status"], run["steps"]) for name, run in first.items()} == {
        "whole": ("done", 4), "resumed": ("done", 4),
    }  # fmt: skip
    one, two = (checkpoint.load(RunFolder(tmp_path / name).checkpoint)["method"] for name in ("whole", "halves"))
    assert equal(one, two)
    assert RunFolder(tmp_path / "whole").encoder.is_file()


class Squares(nn.Module):
    """A method with an output in the precision of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 3)

    def forward(self, batch: Batch) -> StepOutput:
        z = self.encoder(batch.views[0].data)
        loss = z.square().mean()
        return StepOutput(loss, {"square": loss}, [z.detach()])


def strategy_for(precision: Any) -> Strategy:
    device = torch.device("cpu")
    context: dict[str, Any] = {"device": device, "precision": Precision(precision, device), "num_processes": 1}
    strategy: Strategy = registry.build("strategy", "single", **context)
    return strategy


def test_half_precision_gives_numbers_in_single() -> None:
    from ssl_zoo.batch import View

    strategy, method = strategy_for("bf16"), Squares()
    strategy.prepare(method, lambda prepared: torch.optim.SGD(prepared.parameters(), lr=0.1))
    exact = torch.randn(5, 4)
    output = strategy.forward_backward(Batch([View(exact)]), 1, last=True)
    assert output.loss.dtype == output.terms["square"].dtype == torch.float32
    assert output.embeddings[0].dtype == torch.bfloat16  # as computed: only a check of the guard looks at them
    assert method.encoder.weight.grad is not None and method.encoder.weight.grad.dtype == torch.float32


def test_gradients_are_clipped_by_the_norm_of_all() -> None:
    strategy, method = strategy_for("fp32"), Squares()
    strategy.prepare(method, lambda prepared: torch.optim.SGD(prepared.parameters(), lr=1.0))
    before = [weight.detach().clone() for weight in method.parameters()]
    for weight in method.parameters():
        weight.grad = torch.ones_like(weight)
    assert strategy.step(0.5)
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, method.parameters(), strict=True)])
    torch.testing.assert_close(moved.norm(), torch.tensor(0.5))
    assert all(weight.grad is None for weight in method.parameters())
