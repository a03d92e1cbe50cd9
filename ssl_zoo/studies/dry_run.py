"""Dry runs: what a study or a comparison will run, what of it is done, and for how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ssl_zoo.report.table import Table
from ssl_zoo.studies.execute import Job, Setting
from ssl_zoo.studies.speed import Speed

MEASURED = "measured"
FINISHED = "finished runs"


@dataclass(frozen=True)
class Row:
    """One setting of a dry run.

    Attributes:
        name: of the setting.
        runs: of it, one per seed.
        done: how many of them are finished.
        steps: optimizer steps of each run.
        epochs: of each run.
        samples: seen in each run.
        seconds: of one run.
        source: `finished runs` (their whole time, evaluation included) or `measured` (training alone).
    """

    name: str
    runs: int
    done: int
    steps: int
    epochs: float
    samples: int
    seconds: float
    source: str


@dataclass(frozen=True)
class DryRun:
    """What will run.

    Attributes:
        rows: one per setting.
        parallel: runs at the same time.
    """

    rows: Sequence[Row]
    parallel: int = 1

    @property
    def seconds(self) -> float:
        """Of all runs that are left, `parallel` at a time."""
        return sum((row.runs - row.done) * row.seconds for row in self.rows) / self.parallel

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {"settings": [asdict(row) for row in self.rows], "parallel": self.parallel, "seconds": self.seconds}

    def text(self) -> str:
        """Return a table and a sentence."""
        header = ["setting", "runs", "done", "steps", "epochs", "samples", "one run", "time from"]
        table = Table(
            header,
            [
                [row.name, str(row.runs), str(row.done), str(row.steps), f"{row.epochs:.1f}", f"{row.samples:,}",
                 shown_time(row.seconds), row.source]
                for row in self.rows
            ],
        )  # fmt: skip
        left = sum(row.runs - row.done for row in self.rows)
        at_once = f", {self.parallel} at a time" if self.parallel > 1 else ""
        text = f"{table.markdown()}\n\n{left} of {sum(row.runs for row in self.rows)} runs are left{at_once}: about "
        text += f"{shown_time(self.seconds)}."
        if any(row.source == MEASURED for row in self.rows):
            text += " Measured: on a few steps just now, without starting, reading the data and the evaluation."
        return text


def shown_time(seconds: float) -> str:
    """Return a time as `35 s`, `4 min` or `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def dry_run(
    settings: Sequence[Setting], out: Path, parallel: int, threads: int | None, log: Callable[[str], None]
) -> DryRun:
    """Return what running some settings would do; nothing is written.

    Args:
        settings: what would be run.
        out: the folder of the run folders.
        parallel: runs at the same time; each is taken to be as fast as one alone with its threads.
        threads: of the CPU for each run.
        log: prints a line for the user.

    Raises:
        UserError: a mistake in a recipe, data that cannot be read, or a folder that holds another run.
    """
    rows = []
    for setting in settings:
        jobs = [Job(setting, seed, out) for seed in setting.seeds]
        summaries = [summary for job in jobs if (summary := job.finished()) is not None]
        recipe = jobs[0].recipe()
        speed = Speed(recipe, threads, seconds=1.0)
        steps, batch = speed.steps, recipe.training.batch_size
        whole = [s["wall_s"] for s in summaries if s["status"] == "done" and s.get("wall_s")]
        if not whole:
            log(f"timing some steps of {setting.name}")
        seconds = fmean(whole) if whole else steps / speed.steps_per_s
        rows.append(
            Row(setting.name, len(jobs), len(summaries), steps, steps / speed.steps_per_epoch, steps * batch, seconds,
                FINISHED if whole else MEASURED)
        )  # fmt: skip
    return DryRun(rows, parallel)
