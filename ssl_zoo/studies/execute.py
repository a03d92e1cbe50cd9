"""Running the settings of a study: every seed of every setting, skipping what is done, in turn or several at once."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_zoo.errors import TrainingFailed, UserError
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.report.aggregate import Group
from ssl_zoo.runs.folder import RunFolder

RESUME = "interrupted; run the same command again to resume"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """One row of a study: a recipe without its seed.

    Attributes:
        name: of the row in tables.
        folder: the start of its run folders' names.
        load: seed -> recipe.
        seeds: of its runs.
        expect: conditions on its runs, see `ssl_zoo.report.expectations` and `ssl_zoo.report.relations`.
        peers: {name of a variant in a condition: name of the setting that it means}.
        experiment: that it belongs to.
        paper: what the paper reports of it; empty where nothing.
    """

    name: str
    folder: str
    load: Callable[[int], Recipe]
    seeds: tuple[int, ...]
    expect: tuple[str, ...] = ()
    peers: Mapping[str, str] = field(default_factory=dict)
    experiment: str = ""
    paper: str = ""


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        setting: what is run.
        seed: of the run.
        out: the folder of the study.
    """

    setting: Setting
    seed: int
    out: Path

    @property
    def name(self) -> str:
        """What the user sees of it."""
        return f"{self.setting.name}, seed {self.seed}"

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.out / f"{self.setting.folder}-seed{self.seed}")

    @property
    def baselines(self) -> Path:
        """The folder that keeps the numbers of the raw input and of untrained encoders, for all runs of the study."""
        return self.out / ".baselines"

    def recipe(self) -> Recipe:
        """Return the recipe of the run."""
        return self.setting.load(self.seed)

    @property
    def resumes(self) -> bool:
        """Whether there is a run to resume."""
        return self.folder.recipe.is_file() and self.folder.checkpoint.is_file()

    def finished(self) -> dict[str, Any] | None:
        """Return the summary where nothing is left to do, else None.

        A run that is done or collapsed is taken as it is, and so is one that failed because its numbers were not
        finite: it would fail again. One that was interrupted, or failed for another reason, is to be resumed.

        Raises:
            UserError: the folder holds a run of another recipe.
        """
        folder = self.folder
        if not folder.recipe.is_file():
            return None
        folder.check_same(self.recipe())
        if not folder.summary.is_file():
            return None
        summary = folder.read_summary()
        open_ = summary["status"] == "interrupted" or (summary["status"] == "failed" and summary.get("resumable"))
        return None if open_ else summary


Found = dict[Path, Mapping[str, Any]]
"""The summaries of runs, by their folders."""


def jobs_of(settings: Sequence[Setting], out: Path) -> list[Job]:
    """Return the runs of some settings: the first seed of each, then the second, so that early results compare.

    Settings that share their folder share their runs: each is there once.
    """
    longest = max((len(setting.seeds) for setting in settings), default=0)
    jobs = [
        Job(setting, setting.seeds[place], out)
        for place in range(longest)
        for setting in settings
        if place < len(setting.seeds)
    ]
    once: dict[Path, Job] = {}
    for job in jobs:
        once.setdefault(job.folder.path, job)
    return list(once.values())


def run_settings(
    settings: Sequence[Setting],
    out: Path,
    log: Log,
    *,
    parallel: int = 1,
    threads: int | None = None,
    keep_going: bool = False,
) -> list[Group]:
    """Train the missing runs of some settings and return all of them, until one is interrupted.

    Args:
        settings: what to run.
        out: the folder of the run folders.
        log: prints a line for the user.
        parallel: runs at the same time, each in a process of its own where there are several.
        threads: of the CPU, for each run; None leaves torch's number as it is. Results depend on it by rounding.
        keep_going: whether a run that fails leaves the others alone; its status is in its summary.

    Returns:
        One group per setting of which a run was begun.

    Raises:
        UserError: a folder holds a run of another recipe, or nothing can be run at all.
        TrainingFailed: a run broke off, without `keep_going`.
    """
    jobs = jobs_of(settings, out)
    if parallel > 1:
        from ssl_zoo.studies.parallel import run_at_once

        found = run_at_once(jobs, log, parallel, threads, keep_going)
    else:
        with cpu_threads(threads):
            found = _in_turn(jobs, log, keep_going)
    if any(summary["status"] == "interrupted" for summary in found.values()):
        log(RESUME)
    groups = []
    for setting in settings:
        own = [Job(setting, seed, out).folder.path for seed in setting.seeds]
        paths = tuple(path for path in own if path in found)
        if paths:
            groups.append(Group(setting.name, paths, tuple(found[path] for path in paths)))
    return groups


def _in_turn(jobs: Sequence[Job], log: Log, keep_going: bool) -> Found:
    from ssl_zoo.training.train import train

    found: Found = {}
    for job in jobs:
        summary: Mapping[str, Any] | None = job.finished()
        if summary is None:
            log(f"--- {job.name}")
            try:
                summary = train(job.recipe(), out=job.folder.path, resume=job.resumes, baselines=job.baselines, log=log)
            except Exception as error:
                if not keep_going or (isinstance(error, UserError) and not found):
                    raise
                foreseen = isinstance(error, (TrainingFailed, UserError))
                log(f"failed: {error}" if foreseen else traceback.format_exc())
                summary = failed(job, str(error) or type(error).__name__)
        found[job.folder.path] = summary
        if summary["status"] == "interrupted":
            break
    return found


def failed(job: Job, reason: str) -> Mapping[str, Any]:
    """Return the summary of a run that failed: its own, or, of one that could not begin, the reason alone."""
    if job.folder.summary.is_file():
        summary = job.folder.read_summary()
        if summary["status"] == "failed":
            return summary
    return {"status": "failed", "seed": job.seed, "reason": reason}


@contextmanager
def cpu_threads(num: int | None) -> Iterator[None]:
    """A context in which torch computes with so many threads on the CPU; None changes nothing."""
    import torch

    before = torch.get_num_threads()
    if num is not None:
        torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def interrupted(groups: Sequence[Group]) -> bool:
    """Return whether one of the runs was stopped before its end."""
    return any(summary["status"] == "interrupted" for group in groups for summary in group.summaries)


def any_failed(groups: Sequence[Group]) -> bool:
    """Return whether one of the runs failed."""
    return any(summary["status"] == "failed" for group in groups for summary in group.summaries)
