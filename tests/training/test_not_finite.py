"""What is not finite is never saved and never done: the last good checkpoint stays, and goes on to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ssl_zoo.batch import Batch, StepOutput
from ssl_zoo.distributed.strategy import Unsharded
from ssl_zoo.errors import NotFinite
from ssl_zoo.registry import register
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


def method_of(trainer: Trainer) -> nn.Module:
    assert isinstance(trainer.method, nn.Module)
    return trainer.method


def weights(trainer: Trainer) -> None:
    next(method_of(trainer).parameters()).data.flatten()[0] = torch.nan


def statistics(trainer: Trainer) -> None:
    next(b for n, b in method_of(trainer).named_buffers() if n.endswith("running_var"))[0] = torch.inf


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
    from ssl_zoo.methods.joint_embedding import JointEmbedding

    forward, calls = JointEmbedding.forward, []

    def broken(self: JointEmbedding, batch: Any) -> Any:
        output = forward(self, batch)
        calls.append(1)
        if len(calls) == 3:
            output.loss = output.loss + torch.inf  # whose gradient is finite
        return output

    recipe = short_run(log_every=1000, max_steps=6, checkpoint_minutes=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JointEmbedding, "forward", broken)
        with pytest.raises(NotFinite, match=r"^the loss is not finite at step 3; try a lower training.base_lr"):
            train(recipe, out=tmp_path / "run", log=quiet)
    assert RunFolder(tmp_path / "run").read_summary()["status"] == "failed"


class Overflowing(Unsharded):
    """A strategy whose loss scaler finds an overflow in some steps, as fp16's does."""

    overflows: set[int] = set()
    steps = 0

    def forward_backward(self, batch: Batch, num_parts: int, last: bool) -> StepOutput:
        output = super().forward_backward(batch, num_parts, last)
        return replace(output, loss=output.loss * torch.inf) if self.steps + 1 in self.overflows else output

    def step(self, max_norm: float | None) -> bool:
        self.steps += 1
        if self.steps not in self.overflows:
            return super().step(max_norm)
        self.optimizer.zero_grad(set_to_none=True)
        return False


@pytest.mark.parametrize(("overflows", "fails"), [({1, 2, 3, 6}, False), (set(range(4, 200)), True)])
def test_steps_that_fp16_skips_are_no_failure_until_all_are(
    overflows: set[int], fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("strategy", "overflowing")(Overflowing)
    monkeypatch.setattr(Overflowing, "overflows", overflows)
    recipe = short_run(max_steps=100 if fails else 8, strategy="overflowing")
    if fails:
        with pytest.raises(NotFinite, match=rf"^fp16 has overflowed in each of the last {MOST_SKIPPED} steps, to 53;"):
            train(recipe, out=tmp_path / "run", log=quiet)
        return
    assert train(recipe, out=tmp_path / "run", log=quiet)["status"] == "done"
    losses = [record["loss"] for record in RunFolder(tmp_path / "run").read_metrics()]
    assert [loss is None for loss in losses] == [step in overflows for step in range(1, 9)]
