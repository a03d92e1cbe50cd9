"""Training steps of a recipe on a GPU that is not there, by the framework's own trainer; see `fake_gpu`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from experiments.gpu.fake_gpu import FakeGpu
from experiments.gpu.operations import GPU
from ssl_zoo.data import RawBatch
from ssl_zoo.data.source import Samples
from ssl_zoo.distributed.launch import Processes
from ssl_zoo.hardware import Hardware
from ssl_zoo.methods.build import build, build_views
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.rng import generator
from ssl_zoo.training import setup
from ssl_zoo.training.trainer import Step

PARTS = ("views", "forward", "backward", "optimizer", "after_step")
"""Parts of a step, in order; what is in none, such as the mean of the losses, has the part ``."""

# Commit a71b702, which is counted for comparison, has another name for it, and batches of many tensors.
_make_trainer: Any = getattr(setup, "make_trainer", None) or getattr(setup, "_trainer")  # noqa: B009


class FakeTraining:
    """A training of a recipe on a fake GPU, to be used in the context of `gpu`.

    The method is built by the caller, outside of that context: its first weights are of no interest, but take long.

    Args:
        gpu: where it trains.
        recipe: of the training.
        precision: of the arithmetic.

    Attributes:
        trainer: the framework's; its strategy has the method on the device.
        policy: makes the views.
        draws: draws for the method on the host, where that has something to draw.
    """

    def __init__(self, gpu: FakeGpu, recipe: Recipe, precision: str = "bf16", method: Any = None) -> None:
        self.gpu, self.recipe, self.policy = gpu, recipe, build_views(recipe)
        self.method = build(recipe) if method is None else method
        draws = getattr(self.method, "draws", None)  # which commit a71b702 has not
        self.draws = draws(self.policy.spec) if draws else None
        hardware = Hardware("fake", "cuda", precision, "channels_last")  # type: ignore[arg-type]
        self.trainer = _make_trainer(recipe, hardware, Processes(GPU, 1), self.method, self.policy, 100)
        gpu.place(self.method)
        self.trainer.method.train()
        precise: Any = self.trainer.strategy.precision  # type: ignore[attr-defined]
        for owner, name, part in (
            (self.trainer, "to_batch", "views"),
            (precise, "forward", "forward"),
            (precise, "backward", "backward"),
            (precise, "step", "optimizer"),
            (self.method, "after_step", "after_step"),
        ):
            setattr(owner, name, _in_part(gpu, part, getattr(owner, name)))

    def payload(self, samples: Samples, step: int) -> RawBatch:
        """Return what the loader gives for samples in a step."""
        num = len(samples)
        drawn = self.policy.draw(generator(self.recipe.seed, "views", step), num)
        index = torch.arange(num)
        extra = {"drawn": self.draws(step, index)} if self.draws else {}
        raw = RawBatch(self.policy.collate(samples, drawn), index, [], **extra)
        return raw.packed(pin=False) if hasattr(raw, "packed") else raw

    def step(self, samples: Samples) -> Step:
        """Take a step on samples, and note it alone: what was noted before is forgotten."""
        trainer = self.trainer
        raw = self.payload(samples, trainer.step)
        self.gpu.clear()
        return trainer.take_step(map(trainer.to_batch, [raw]), 1)


def _in_part(gpu: FakeGpu, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def marked(*args: Any, **kwargs: Any) -> Any:
        with gpu.part(part):
            return call(*args, **kwargs)

    return marked
