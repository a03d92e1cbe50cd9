"""What is not finite is never saved and never done: the last good checkpoint stays, and goes on to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_zoo.errors import NotFinite
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.monitor import Monitor
from ssl_zoo.training.train import train
from ssl_zoo.training.trainer import MOST_SKIPPED, Trainer
from tests.runs.test_killed import same_end, short_run

RARE = {"log_every": 1000, "max_steps": 8}
"""Eight steps, of which the first and the last are logged."""


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(short_run(**RARE), out=out, log=quiet)
    return out


def weights(trainer: Trainer) -> None:
    next(trainer.method.encoder.parameters()).data.flatten()[0] = torch.nan


def statistics(trainer: Trainer) -> None:
    next(b for n, b in trainer.method.named_buffers() if n.endswith("running_var"))[0] = torch.inf


def momentum(trainer: Trainer) -> None:
    state = list(trainer.optimizer.state.values())[-1]["momentum_buffer"]
    state.flatten()[0] = -torch.inf


@pytest.mark.parametrize("spoil", [weights, statistics, momentum])
@pytest.mark.parametrize("step", [4, 8])
def test_the_last_good_state_stays(
    spoil: Callable[[Trainer], None], step: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_step = Monitor.after_step

    def spoilt(self: Monitor, each: Any) -> bool:
        stop = after_step(self, each)
        if each.number == step:
            spoil(self.trainer)
        return stop

    monkeypatch.setattr(Monitor, "after_step", spoilt)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(NotFinite, match=rf" is not finite .*holds the last good state, of step {step - 1}\.$"):
        train(short_run(**RARE), out=folder.path, log=quiet)
    assert checkpoint.load(folder.checkpoint)["step"] == step - 1
    summary = folder.read_summary()
    assert (summary["status"], summary["steps"], summary["resumable"]) == ("failed", step, False)
    assert "is not finite" in summary["reason"] and not folder.encoder.exists()
    monkeypatch.undo()
    assert train(short_run(**RARE), out=folder.path, resume=True, log=quiet)["status"] == "done"
    assert same_end(folder.path, whole)


def test_a_loss_between_two_log_steps_is_noticed_by_its_own(tmp_path: Path) -> None:
    from ssl_zoo.methods.joint_embedding import Method

    forward, calls = Method.forward, []

    def broken(self: Method, batch: Any) -> Any:
        output = forward(self, batch)
        calls.append(1)
        if len(calls) == 3:
            output.loss = output.loss + torch.inf  # whose gradient is finite
        return output

    recipe = short_run(log_every=1000, max_steps=6, checkpoint_minutes=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Method, "forward", broken)
        with pytest.raises(NotFinite, match=r"^the loss is not finite at step 3; try a lower training.base_lr"):
            train(recipe, out=tmp_path / "run", log=quiet)
    assert RunFolder(tmp_path / "run").read_summary()["status"] == "failed"


class Scaler:
    """A loss scaler that finds an overflow in some steps, as fp16's does."""

    def __init__(self, optimizer: torch.optim.Optimizer, overflows: set[int]):
        self.optimizer, self.overflows, self.steps, self.scale = optimizer, overflows, 0, 2.0**16

    def get_scale(self) -> float:
        return self.scale

    def step(self) -> None:
        self.steps += 1
        if self.steps in self.overflows:
            self.scale /= 2
        else:
            self.optimizer.step()


@pytest.mark.parametrize(("overflows", "fails"), [({1, 2, 3, 6}, False), (set(range(4, 200)), True)])
def test_steps_that_fp16_skips_are_no_failure_until_all_are(
    overflows: set[int], fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_zoo.methods.joint_embedding import Method

    scalers: list[Scaler] = []
    forward = Method.forward

    def step(self: Trainer) -> bool:
        if not scalers:
            scalers.append(Scaler(self.optimizer, overflows))
        before = scalers[0].get_scale()
        scalers[0].step()
        self.optimizer.zero_grad(set_to_none=True)
        return scalers[0].get_scale() >= before

    def overflowing(self: Method, batch: Any) -> Any:
        output = forward(self, batch)
        if (scalers[0].steps if scalers else 0) + 1 in overflows:
            output.loss = output.loss * torch.inf
        return output

    monkeypatch.setattr(Trainer, "_optimizer_step", step)
    monkeypatch.setattr(Method, "forward", overflowing)
    recipe = short_run(max_steps=100 if fails else 8)
    if fails:
        with pytest.raises(NotFinite, match=rf"^fp16 has overflowed in each of the last {MOST_SKIPPED} steps, to 53;"):
            train(recipe, out=tmp_path / "run", log=quiet)
        return
    assert train(recipe, out=tmp_path / "run", log=quiet)["status"] == "done"
    losses = [record["loss"] for record in RunFolder(tmp_path / "run").read_metrics()]
    assert [loss is None for loss in losses] == [step in overflows for step in range(1, 9)]
