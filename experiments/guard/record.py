"""Train the runs of `settings.py` and record what the guard would see, and the truth, measured apart.

The networks are small, so that a run takes a second: two layers on 8 x 8 images, the views of which are a random 60 %
of the pixels at a random contrast. Methods, terms, targets and optimizers are those of ssl_zoo, and so are the
measurements. The truth is measured on held-out samples, in eval mode: how often the nearest neighbours by h, and by z,
have the same label (kNN) and a sample's other view is the nearest of 200 (r1); spread, scale and rank of both.

    python -m experiments.guard.record            # adds the runs that are missing to records.json.gz
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.guard.records import RECORDS, lines, read, rounded
from experiments.guard.settings import Setting, settings
from ssl_zoo import parts, registry
from ssl_zoo.batch import Batch, View, encode
from ssl_zoo.collapse.guard import check_every
from ssl_zoo.collapse.metrics import agreement, effective_rank, normalised_std, scale
from ssl_zoo.evaluation.features import evaluating
from ssl_zoo.methods.build import build
from ssl_zoo.methods.members import MemberEncoders, apply
from ssl_zoo.optim.param_groups import freeze, parameter_groups, plan, set_decay
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.registry import register
from ssl_zoo.training.measurement import Measurement

SPEECH = Path("../shared/data/fsdd.parquet")
BANDS = [3, 4, 6, 8, 12, 18, 30, 46]
HELD_OUT, NEIGHBOURS, TRUTHS = 200, 5, 20
SIDE, KEEP = 8, 0.6


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


@cache
def images(data: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return train images `(N, C, 8, 8)`, their labels, and the same held out."""
    if data == "speech":
        return _speech()
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = torch.from_numpy(bunch.images).float()[:, None] / 16, torch.from_numpy(bunch.target).long()
    test = torch.arange(len(x)) % 5 == 0
    return x[~test], y[~test], x[test][:HELD_OUT], y[test][:HELD_OUT]


def _speech() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return spoken digits as log-spectrograms of 8 bands and 8 parts, each band of mean 0 and deviation 0.3."""
    import io
    import wave

    import numpy as np
    import pyarrow.parquet as parquet

    columns = parquet.read_table(SPEECH, columns=["audio", "digit"]).to_pydict()
    found = []
    for number, audio in enumerate(columns["audio"]):
        if number % 2 and number % 5:
            continue  # half of the recordings are enough
        with wave.open(io.BytesIO(audio["bytes"] if isinstance(audio, dict) else audio)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16).astype(np.float32) / 2**15
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (0, 512)), 256)[::64]
        power = torch.from_numpy(np.abs(np.fft.rfft(frames * np.hanning(256), axis=1)) ** 2).float()
        bands = torch.stack([part.mean(dim=1) for part in power[:, 2:].split(BANDS, dim=1)])
        image = F.adaptive_avg_pool1d((bands + 1e-6).log()[None], SIDE)[0]
        found.append((number, image, int(columns["digit"][number])))
    test = torch.tensor([number % 5 == 0 for number, _, _ in found])
    x, y = torch.stack([image for _, image, _ in found])[:, None], torch.tensor([label for _, _, label in found])
    x = 0.3 * (x - x[~test].mean(dim=(0, 3), keepdim=True)) / x[~test].std(dim=(0, 3), keepdim=True)
    chosen = torch.linspace(0, int(test.sum()) - 1, HELD_OUT).long()
    return x[~test], y[~test], x[test][chosen], y[test][chosen]


def view(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random view of images `(B, C, 8, 8)`."""
    keep = torch.rand(len(x), 1, SIDE, SIDE, generator=generator) < KEEP
    return x * keep * (0.6 + 0.8 * torch.rand(len(x), 1, 1, 1, generator=generator))


def views_of(x: Sequence[Tensor], names: Sequence[str], generator: torch.Generator) -> list[View]:
    """Return the views of a batch: of each name, of its member's images."""
    members = list(dict.fromkeys(names))
    return [View(view(x[members.index(name)], generator), name) for name in names]


def partners(y: Tensor, generator: torch.Generator) -> Tensor:
    """Return for each sample another one of the same label."""
    order = torch.randperm(len(y), generator=generator)
    found = torch.empty_like(y)
    for label in y.unique():
        found[y == label] = order[y[order] == label]
    return found


def same_label(x: Tensor, labels: Tensor) -> float:
    """Return how often a sample's label is that of its 5 nearest others, by the cosine of the centred x `(N, D)`."""
    unit = F.normalize((x - x.mean(dim=0)).float(), dim=1)
    similarity = (unit @ unit.T).fill_diagonal_(-2)
    votes = labels[similarity.topk(NEIGHBOURS, dim=1).indices]
    return (votes.mode(dim=1).values == labels).double().mean().item()


def found_again(a: Tensor, b: Tensor) -> float:
    """Return how often the nearest of the rows b, by the cosine of the centred, is that of the same sample as in a."""
    a, b = (F.normalize(x - x.mean(dim=0), dim=1) for x in (a, b))
    return ((a @ b.T).argmax(dim=1) == torch.arange(len(a))).double().mean().item()


class Truth:
    """Measures the state of a training on two views of held-out samples; of members, the worst.

    Args:
        method: that is trained.
        views: two of each member.
        labels: of the samples.
    """

    def __init__(self, method: Any, views: list[View], labels: Tensor):
        self.method, self.views, self.labels = method, views, labels

    def _embed(self) -> dict[str, list[Tensor]]:
        h = [encode(self.method.encoder, each) for each in self.views]
        z = [apply(self.method.projector, x, each) for x, each in zip(h, self.views, strict=True)]
        return {"h": h, "z": z}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Return {metric: value}."""
        with evaluating(self.method):
            embedded = self._embed()
        values: dict[str, float] = {}
        for kind, each in embedded.items():
            for first, second in zip(each[::2], each[1::2], strict=True):
                if not (first.isfinite().all() and second.isfinite().all()):
                    return {"finite": 0.0}
                now = {
                    "knn": same_label(first, self.labels), "r1": found_again(first, second), "scale": scale(first),
                    "std": normalised_std(first), "rank": effective_rank(first), "shared": agreement(first, second),
                }  # fmt: skip
                values |= {f"{key}_{kind}": min(v, values.get(f"{key}_{kind}", v)) for key, v in now.items()}
        z = embedded["z"]
        return values | ({"across": agreement(z[0], z[2])} if len(z) > 2 and self.method.members else {})


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
        channels, members = self.x.shape[1], self.recipe.members
        encoder: nn.Module = Pixels(channels)
        self.names = ["image"] * self.recipe.views.options.get("num_views", 2) if not members else []
        if members:
            encoder = MemberEncoders({member: Pixels(channels) for member in members})
            self.names = [member for member in members for _ in range(2)]
        self.method: Any = build(self.recipe, encoder)
        held_out = torch.Generator().manual_seed(12345)
        both = [test, test[partners(labels, held_out)]]
        names = list(self.names) if members else ["image"] * 2
        self.truth = Truth(self.method, views_of(both, names, held_out), labels)
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
        output = self.method(Batch(views_of(x, self.names, self.generator), index))
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
    truths: list[Any] = [[0, run.truth.measure()]]
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
            checks.append([step, values, width, rows, output.loss.item()])
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
    parser.add_argument("--pack", action="store_true", help="train nothing; put together what there is")
    args = parser.parse_args()
    args.scratch.parent.mkdir(parents=True, exist_ok=True)
    done = {each["name"]: each for each in [*read()["runs"], *lines(args.scratch)]}
    for setting in [] if args.pack else settings():
        if setting.name in done or args.only not in setting.name:
            continue
        started = time.perf_counter()
        done[setting.name] = rounded(record(setting))
        with args.scratch.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[setting.name]) + "\n")
        print(f"{setting.name}: {time.perf_counter() - started:.1f} s", flush=True)
    about = {"python": sys.version.split()[0], "torch": torch.__version__, "threads": torch.get_num_threads()}
    runs = [done[setting.name] for setting in settings() if setting.name in done]
    text = json.dumps({"about": about, "runs": runs}, separators=(",", ":"))
    RECORDS.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
