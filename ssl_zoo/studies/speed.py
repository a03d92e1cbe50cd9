"""The speed of a recipe on this machine, measured on a few real steps: for dry runs and time budgets."""

from __future__ import annotations

import tempfile
import time
from functools import cached_property
from pathlib import Path

from ssl_zoo.recipe.model import Recipe

_UNTIMED = 2
"""Steps before the clock starts: the first ones allocate memory and start the readers of data."""

_MOST = 30
"""Timed steps at most."""


class Speed:
    """The length and the speed of a recipe's run; each is found when it is first asked for.

    Args:
        recipe: of the run.
        threads: of the CPU, as the run will have; None leaves torch's number.
        seconds: of timed steps at most, and one step at least.
    """

    def __init__(self, recipe: Recipe, threads: int | None = None, seconds: float = 2.0):
        self._recipe, self._threads, self._seconds = recipe, threads, seconds
        self.timed = 0

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch.

        Raises:
            UserError: the data cannot be read.
        """
        from ssl_zoo.methods.build import build_views, open_recipe_data

        train = open_recipe_data(self._recipe, build_views(self._recipe).spec).train
        return max(1, len(train) // self._recipe.training.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        settings = self._recipe.training
        return settings.max_steps or max(1, round(settings.epochs * self.steps_per_epoch))

    @cached_property
    def steps_per_s(self) -> float:
        """Optimizer steps per second of training, on this machine as it is now.

        Raises:
            UserError: parts that do not join, or data that cannot be read.
        """
        import torch

        from ssl_zoo.distributed.launch import launch
        from ssl_zoo.hardware import choose
        from ssl_zoo.runs.folder import RunFolder
        from ssl_zoo.studies.execute import cpu_threads
        from ssl_zoo.training.setup import assemble
        from ssl_zoo.training.trainer import Step

        training, marks = self._recipe.training, [time.perf_counter()]

        def after_step(step: Step) -> bool:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            marks.append(time.perf_counter())
            return len(marks) > _UNTIMED + 1 and marks[-1] - marks[_UNTIMED] > self._seconds

        with cpu_threads(self._threads), tempfile.TemporaryDirectory() as folder:
            hardware = choose(training.precision, training.memory_format)
            run = assemble(self._recipe, RunFolder(Path(folder) / "run"), hardware, launch(hardware, 1), {})
            run.trainer.run(run.loader.iterate(0, min(run.trainer.total_steps, _UNTIMED + _MOST)), after_step)
        first = min(_UNTIMED, len(marks) - 2)
        self.timed = len(marks) - 1 - first
        return self.timed / (marks[-1] - marks[first])
