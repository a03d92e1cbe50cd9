"""Each recipe with and without a CUDA graph: are the losses equal, and how long does a step take?

    python -m experiments.gpu.check_graph --out OUT/graph.json                  # on a GPU: all recipes of CIFAR-10
    python -m experiments.gpu.check_graph --quick --out OUT/graph.json          # two recipes, small; on a CPU too

On a CPU the graph is the stand-in of `replay.py`, which shows that the losses are equal and says nothing about time. On
a GPU, losses may differ by rounding where a kernel adds in no fixed order; the largest relative difference is written
down.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.gpu.replay import StandIn
from ssl_zoo.batch import Batch, View
from ssl_zoo.data import RawBatch
from ssl_zoo.distributed.launch import launch
from ssl_zoo.errors import UserError
from ssl_zoo.hardware import arithmetic, choose
from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.cuda_graph import GraphedStep
from ssl_zoo.training.setup import Run, assemble
from ssl_zoo.training.trainer import Step

QUICK = ["encoder.width=0.125", "training.batch_size=16"]


def open_run(recipe: Recipe) -> Run:
    """Return the pieces of a training in one process, which is not written anywhere."""
    hardware = choose(recipe.training.precision, recipe.training.memory_format)
    with tempfile.TemporaryDirectory() as folder:
        return assemble(recipe, RunFolder(Path(folder) / "run"), hardware, launch(hardware, 1), {})


class StandInStep(GraphedStep):
    """The step of a run on a CPU, recorded by the stand-in.

    Views are made before it: on a CPU their code is another one than on a GPU, and looks at what was drawn.
    """

    def __init__(self, run: Run, required: bool = False):
        trainer = run.trainer
        self._make, self._like = trainer.to_batch, list[View]()
        self.stand_in = StandIn()
        modules = (run.method, run.policy)
        super().__init__(
            self._rebuilt, trainer.strategy.forward_backward, modules, trainer.device, self.stand_in, required
        )

    def __call__(self, raw: RawBatch, num_parts: int, last: bool) -> Any:
        """Take a micro-batch; see `GraphedStep`."""
        batch = self._make(raw)
        self._like = list(batch.views)
        payload = {}
        for i, view in enumerate(batch.views):
            payload |= {f"{i}": view.tensor, **{f"{i}.{name}": value for name, value in view.aux.items()}}
        return super().__call__(RawBatch(payload, raw.index, [], drawn=raw.drawn), num_parts, last)

    def _rebuilt(self, raw: RawBatch) -> Batch:
        views = [
            View(raw.payload[str(i)], view.modality, view.role, view.is_target,
                 {name: raw.payload[f"{i}.{name}"] for name in view.aux})
            for i, view in enumerate(self._like)
        ]  # fmt: skip
        return Batch(views, raw.index, raw.drawn)


def losses(run: Run, first: int, last: int) -> Iterator[float]:
    """Train from one step to another; yield the losses."""
    found: list[Step] = []
    run.trainer.run(run.loader.iterate(first, last), lambda step: bool(found.append(step)))
    yield from (step.loss.item() for step in found)


def seconds(run: Run, first: int, steps: int) -> float:
    """Return the seconds that a step takes, views and optimizer included."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    started = time.perf_counter()
    run.trainer.run(run.loader.iterate(first, first + steps), lambda step: False)
    wait()
    return (time.perf_counter() - started) / steps


def check(recipe: Recipe, steps: int, timed: int) -> dict[str, Any]:
    """Return what became of a recipe with a graph and without."""
    on_gpu = torch.cuda.is_available()
    plain, graphed = open_run(off := changed(recipe, "off")), open_run(changed(recipe, "auto") if on_gpu else off)
    if not on_gpu:
        graphed.trainer.graphed = StandInStep(graphed)
    step = graphed.trainer.graphed
    one, other = (list(losses(run, 0, steps)) for run in (plain, graphed))
    worst = max(abs(a - b) / max(abs(a), 1e-12) for a, b in zip(one, other, strict=True))
    found = {"recorded": bool(step and step.recorded), "problem": step.problem if step else "not tried",
             "equal_steps": sum(a == b for a, b in zip(one, other, strict=True)), "steps": steps,
             "largest_relative_difference": worst}  # fmt: skip
    if on_gpu and timed:
        rounds = [[seconds(run, steps + n * timed, timed) for run in (plain, graphed)] for n in range(3)]
        found |= {"plain_ms": [1000 * a for a, _ in rounds], "graph_ms": [1000 * b for _, b in rounds]}
    return found


def changed(recipe: Recipe, value: str) -> Recipe:
    """Return a recipe with another `training.cuda_graph`."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"cuda_graph": value})})


def main(arguments: Sequence[str] | None = None) -> None:
    """Check recipes, print a line for each, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", help="such as cifar10/simsiam; none are all that CIFAR-10 has")
    parser.add_argument("--data", help="the folder of CIFAR-10; none takes small pictures of digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12, help="of which the losses are compared")
    parser.add_argument("--timed", type=int, default=30, help="steps that are timed, three times each side; 0: none")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    names = given.recipes or (["cifar10/simsiam", "cifar10/byol"] if given.quick else cifar10())
    sets = [*(QUICK if given.quick else ()), *(() if given.data else ("views.channels=1",))]
    found = {}
    for name in names:
        try:
            recipe = load_recipe(name, sets, data=given.data or "digits")
            with arithmetic(choose().accelerator, choose(recipe.training.precision).precision, fixed_shapes=True):
                found[name] = check(recipe, 6 if given.quick else given.steps, 0 if given.quick else given.timed)
        except (UserError, RuntimeError) as error:  # of this recipe alone; the others are still to be checked
            found[name] = {"error": f"{type(error).__name__}: {error}"}
        print(name, json.dumps(found[name]), flush=True)
    about = {"torch": torch.__version__, "device": choose().name, "recipes": found}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(about, indent=1), encoding="utf-8")


def cifar10() -> list[str]:
    """Return the names of the recipes that CIFAR-10 has."""
    return [f"cifar10/{name}" for name in method_names() if (Path("experiments/cifar10") / f"{name}.yaml").is_file()]


if __name__ == "__main__":
    main()
