"""Train the runs of `settings.py` and record what the guard would see, and the truth, measured apart (`truth.py`).

The networks are small, so that a run takes seconds: two layers, a convnet or a transformer on 8 x 8 images, the views
of which are a random 60 % of the pixels at a random contrast. Methods, terms, targets and optimizers are those of
ssl_zoo, and so are the measurements.

    python -m experiments.guard.record            # adds the runs that are missing to records.json.gz
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.guard.data import KEEP, KEEP_MASKED, SIDE, images, partners, views_of
from experiments.guard.records import RECORDS, lines, read, rounded
from experiments.guard.settings import Setting, settings
from experiments.guard.truth import Truth
from ssl_zoo import parts, registry
from ssl_zoo.batch import Batch
from ssl_zoo.collapse.guard import check_every
from ssl_zoo.methods.build import build
from ssl_zoo.methods.members import MemberEncoders
from ssl_zoo.optim.param_groups import freeze, parameter_groups, plan, set_decay
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.registry import register
from ssl_zoo.training.measurement import Measurement

TRUTHS = 40
"""How often the truth is measured."""


@register("target", "constant")
class Constant(parts.Target):
    """A target that is the same for all samples: all embeddings are to be equal."""

    def forward(self, views: Any, z: Any) -> list[Tensor | None]:
        """Return t `(B, D)` of each view: the first unit vector."""
        one = F.one_hot(torch.zeros(1, dtype=torch.int64), z[0].shape[1]).to(z[0].dtype)
        return [one.expand_as(x) for x in z]


class Pixels(nn.Module):
    """Two layers with BatchNorm on the pixels of 8 x 8 images."""

    def __init__(self, channels: int, width: int = 64):
        super().__init__()
        self.out_dim = width
        self.body = nn.Sequential(
            nn.Linear(channels * SIDE**2, 128), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, width), nn.BatchNorm1d(width), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return h `(B, width)` of images `(B, C, H, W)`."""
        x = x if x.shape[-2:] == (SIDE, SIDE) else F.adaptive_avg_pool2d(x, SIDE)  # as the trial of the parts has them
        return self.body(x.flatten(1))


class Training:
    """A run: the method of a recipe on tiny images, with its own optimizer, step by step.

    Args:
        setting: of the run.
    """

    def __init__(self, setting: Setting):
        torch.manual_seed(setting.seed)
        self.recipe: Recipe = setting.recipe()
        self.generator = torch.Generator().manual_seed(setting.seed)
        self.x, self.y, test, labels = images("digits" if setting.data == "pairs" else setting.data)
        channels, members, masked = self.x.shape[1], self.recipe.members, self.recipe.kind == "masked"
        encoder: nn.Module | None = Pixels(channels) if setting.network == "layers" else None
        self.names = ["image"] * self.recipe.views.options.get("num_views", 2) if not members else []
        if members:
            encoder = MemberEncoders({member: Pixels(channels) for member in members})
            self.names = [member for member in members for _ in range(2)]
        self.method: Any = build(self.recipe, encoder)
        self.part = KEEP_MASKED if masked else KEEP
        both = [test, test[partners(labels, torch.Generator().manual_seed(54321))]]
        self.truth = Truth(self.method, both, labels, self.names, masked)
        self._prepare(setting)

    def _prepare(self, setting: Setting) -> None:
        training, self.batch, self.total = self.recipe.training, setting.batch, setting.steps
        per_epoch = max(1, len(self.x) // self.batch)
        groups = plan(parameter_groups(self.method, training.groups), per_epoch, 0.0, None)
        options = training.optimizer.options
        self.optimizer = registry.build("optimizer", training.optimizer.name, options, groups=groups)
        options = training.schedule.options
        sizes = {"total_steps": self.total, "steps_per_epoch": per_epoch}
        self.schedule = registry.build("schedule", training.schedule.name, options, **sizes)

    def step(self, number: int) -> Any:
        """Take a step, numbered from 0; return its output."""
        lr = self.recipe.training.lr
        for group in self.optimizer.param_groups:
            group["lr"] = lr * (1.0 if group["constant"] else self.schedule(number)) * group["lr_scale"]
        set_decay(self.optimizer.param_groups, number, self.total)
        index = torch.randint(len(self.x), (self.batch,), generator=self.generator)
        x = [self.x[index]]
        if self.recipe.members:  # the other member is another image of the same label
            order = partners(self.y, self.generator)
            x.append(self.x[order[index]])
        self.method.train()
        output = self.method(Batch(views_of(x, self.names, self.generator, self.part), index))
        self.optimizer.zero_grad()
        output.loss.backward()
        freeze(self.optimizer.param_groups, number)
        if (clip := self.recipe.training.clip_grad) is not None:
            nn.utils.clip_grad_norm_(self.method.parameters(), clip)
        self.optimizer.step()
        self.method.after_step((number + 1) / self.total)
        return output


def record(setting: Setting) -> dict[str, Any]:
    """Train a run and return its record."""
    run = Training(setting)
    total, guard = run.total, run.recipe.guard
    every = check_every(guard.every, guard.patience, total)
    measured = Measurement(run.method, every, total, setting.batch)
    truths: list[Any] = [[0, run.truth.start()]]
    checks: list[Any] = []
    seconds, ended = {"measuring": 0.0, "steps": 0.0}, "done"
    for number in range(total):
        started = time.perf_counter()
        try:
            output = run.step(number)
        except RuntimeError as error:  # a decomposition of what is not finite
            ended = f"step {number + 1}: {str(error)[:80]}"
            break
        seconds["steps"] += time.perf_counter() - started
        step, started = number + 1, time.perf_counter()
        measured.after_step(step, output)
        if measured.due(step) and measured.enough(step):
            values, width, rows = measured.take(output)
            terms = {name: value.item() for name, value in output.terms.items()}
            checks.append([step, values, width, rows, output.loss.item(), terms])
        seconds["measuring"] += time.perf_counter() - started
        if step % max(1, total // TRUTHS) == 0:
            truths.append([step, run.truth.measure()])
        if not math.isfinite(output.loss.item()):
            ended = f"step {step}: the loss is not finite"
            break
    return {"name": setting.name, "every": every, "shrinks": run.method.shrinks, "steps": total, "ended": ended,
            "checks": checks, "truth": truths, "seconds": seconds}  # fmt: skip


def main() -> None:
    """Record the runs that are missing, each into a file of its own lines, and put all together."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="only runs with this in their name")
    parser.add_argument("--scratch", type=Path, default=Path("runs/guard.jsonl"))
    parser.add_argument("--half", choices=("calibration", "held out"), help="only runs of this half")
    parser.add_argument("--pack", action="store_true", help="train nothing; put together what there is")
    args = parser.parse_args()
    args.scratch.parent.mkdir(parents=True, exist_ok=True)
    done = {each["name"]: each for each in [*read()["runs"], *lines(args.scratch)]}
    for setting in [] if args.pack else settings():
        half = "held out" if setting.held_out else "calibration"
        if setting.name in done or args.only not in setting.name or args.half not in (None, half):
            continue
        started = time.perf_counter()
        done[setting.name] = rounded(record(setting))
        with args.scratch.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[setting.name]) + "\n")
        print(f"{setting.name}: {time.perf_counter() - started:.1f} s", flush=True)
    about = {"python": sys.version.split()[0], "torch": torch.__version__, "threads": torch.get_num_threads()}
    runs = [done[setting.name] for setting in settings() if setting.name in done]
    trial = read().get("trial", [])
    text = json.dumps({"about": about, "runs": runs, "trial": trial}, separators=(",", ":"))
    RECORDS.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
