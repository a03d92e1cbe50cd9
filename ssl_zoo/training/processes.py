"""A training in processes that are started for it, seen from the one that starts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from ssl_zoo.distributed.launch import ProcessFailed, start
from ssl_zoo.errors import TrainingFailed
from ssl_zoo.methods.check import check_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.commands import resume
from ssl_zoo.runs.folder import RunFolder


def train_in_processes(
    recipe: Recipe, folder: RunFolder, size: int, max_restarts: int, log: Callable[[str], None]
) -> NoReturn:
    """Run the program once more in each process, and end as they end.

    Args:
        recipe: of the run.
        folder: where it is kept.
        size: the number of processes.
        max_restarts: how often they are started again, from the last checkpoint, when one is lost.
        log: prints a line for the user.

    Raises:
        SystemExit: they have ended, with this exit code.
        UserError: the recipe or the data do not allow the run.
        TrainingFailed: the run broke off; its summary has the reason.
    """
    check_recipe(recipe)  # before anything is started
    try:
        start(size, max_restarts, log)
    except ProcessFailed as error:
        if not folder.checkpoint.is_file() or (error.is_told and not error.rank) or folder.finished() is not None:
            raise  # there is no run yet, the main process has written its summary, or it failed after the run
        if folder.summary.is_file():
            folder.write_summary({**folder.read_summary(), "status": "failed", "reason": str(error), "resumable": True})
        raise TrainingFailed(f"{error} Once this is fixed, resume with: {resume(folder.path)}") from error
