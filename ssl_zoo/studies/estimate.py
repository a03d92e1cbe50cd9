"""Time and memory of a run, from a few real steps of its recipe on some of its samples."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ssl_zoo.data.open import OpenData
from ssl_zoo.recipe.model import Recipe

FIRST = 16
"""Samples of the first measured batch, at most."""

SECONDS = 2.0
"""A step of the second measured batch should take about so long at most."""

TIMED = 3
"""Steps of each measured batch; the first is not timed."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take, without its evaluation.

    Attributes:
        steps: optimizer steps of the run.
        batch_size: of the recipe.
        measured: the batch sizes that were measured; what the recipe's takes is a straight line through them.
        step_s: seconds of a step, the readers of data included.
        memory: bytes of a process at its peak, the kept samples included; None where the system does not tell.
        device: that was measured.
    """

    steps: int
    batch_size: int
    measured: tuple[int, ...]
    step_s: float
    memory: int | None
    device: str

    @property
    def seconds(self) -> float:
        """Of the training."""
        return self.steps * self.step_s

    def plain(self) -> dict[str, object]:
        """Return it as plain data, for `--json`."""
        return {
            "steps": self.steps, "step_s": self.step_s, "seconds": self.seconds, "memory_bytes": self.memory,
            "batch_size": self.batch_size, "measured_batches": list(self.measured), "device": self.device,
        }  # fmt: skip

    def sentences(self) -> list[str]:
        """Return the estimate, and how it was made."""
        how = f"measured here ({self.device}) on {TIMED} real steps"
        if self.measured[-1] == self.batch_size:
            how += f" at batch {self.batch_size}"
        else:
            sizes = " and ".join(map(str, self.measured))
            how += f" at a batch of {sizes}, and drawn on in a straight line to {self.batch_size}"
        memory = "" if self.memory is None else f", in about {self.memory / 2**30:.1f} GiB of memory"
        return [
            f"about {shown_time(self.seconds)} of training: {self.steps} steps of {self.step_s:.2g} s{memory}",
            f"{how}; the evaluation at the end comes on top",
        ]


def shown_time(seconds: float) -> str:
    """Return a time as `40 s`, `12 min`, `3.5 h` or `4 days`."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            amount = seconds / size
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{seconds:.0f} s"


def estimate(recipe: Recipe, some: OpenData, num: int) -> Estimate:
    """Take a few steps of a recipe and say what all of them will take.

    Args:
        recipe: of the run.
        some: some of its samples, as the run will hold them.
        num: all of its samples.

    Raises:
        UserError: parts that do not join, or samples that do not fit them.
    """
    settings = recipe.training
    batch = settings.batch_size
    most = min(batch, len(some.train))
    times, peaks = {}, {}
    sizes = [min(FIRST, most)]
    for size in sizes:
        times[size], peaks[size], device = _measured(recipe, some, size)
        if len(sizes) == 1 and size < most:
            second = min(most, int(size * max(2.0, SECONDS / times[size])))
            sizes.append(second)
    last = sizes[-1]
    step_s, peak = times[last], peaks[last]
    if last < batch:
        step_s *= batch / last
        if peak is not None and len(sizes) > 1:
            slope = max(0.0, (peak - (peaks[sizes[0]] or 0)) / (last - sizes[0]))
            peak = int(peak + slope * (batch - last))
    from ssl_zoo.training.setup import total_steps

    steps = total_steps(recipe, max(1, num // batch))
    return Estimate(steps, batch, tuple(sizes), step_s, peak, device)


def _measured(recipe: Recipe, some: OpenData, size: int) -> tuple[float, int | None, str]:
    """Return the seconds of a step at a batch size, the peak of the memory in bytes, and the device."""
    import torch

    from ssl_zoo.distributed.launch import launch
    from ssl_zoo.hardware import choose
    from ssl_zoo.runs.folder import RunFolder
    from ssl_zoo.runs.memory import peak_memory, reset_peak_memory
    from ssl_zoo.training.setup import assemble
    from ssl_zoo.training.trainer import Step

    training = recipe.training.model_copy(update={"batch_size": size, "accumulate": 1})
    recipe = recipe.model_copy(update={"training": training})
    hardware = choose(training.precision, training.memory_format)
    marks: list[float] = []

    def after_step(step: Step) -> bool:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        return len(marks) > TIMED

    with tempfile.TemporaryDirectory() as folder:
        reset_peak_memory()
        run = assemble(recipe, RunFolder(Path(folder) / "run"), hardware, launch(hardware, 1), {}, opened=some)
        run.trainer.run(run.loader.iterate(0, TIMED + 1), after_step)
    between = [after - before for before, after in zip(marks, marks[1:], strict=False)]
    return median(between), peak_memory(hardware.accelerator), hardware.name
