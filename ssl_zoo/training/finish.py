"""The end of a run: first the product, then the lists, then the evaluation. None can take away what is before it."""

from __future__ import annotations

from typing import Any

from ssl_zoo.errors import CannotWrite, TrainingFailed, UserError
from ssl_zoo.evaluation.evaluate import measure
from ssl_zoo.runs.encoder import save_encoder
from ssl_zoo.training.active_run import Life
from ssl_zoo.training.stop import Interrupted


def finish(life: Life, status: str) -> dict[str, Any]:
    """Write what a run leaves behind, evaluate its encoder, and return its summary; only the first process does.

    Until the evaluation has ended the summary says `interrupted`, so that a run that is killed here goes on with it.

    Args:
        life: of the run, which is saved.
        status: how the training ended: `done`, `collapsed` or `interrupted`.

    Raises:
        TrainingFailed: the encoder could not be written, or not be evaluated; what has been written stays.
    """
    run, folder = life.run, life.run.folder
    if status == "interrupted":
        _write_lists(life)
        summary = life.summary(status)
        folder.write_summary(summary)
        return summary
    encoder = run.trainer.method.encoder
    _write_encoder(life)
    _write_lists(life)
    folder.write_summary(life.summary("interrupted"))
    life.log("evaluating the frozen encoder")
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        life.log(f"  {line}")

    try:
        with life.stop.at_once():
            results = measure(run.recipe, encoder, run.policy, run.data, run.trainer.fabric.device, log=tell)
    except Interrupted:
        life.log(f"stopped in the evaluation; {folder.encoder} is written")
        summary = life.summary("interrupted")
        folder.write_summary(summary)
        return summary
    except Exception as error:
        what = str(error) or type(error).__name__
        what = what if isinstance(error, (TrainingFailed, UserError)) else f"{type(error).__name__}: {what}"
        life.monitor.problem(f"the encoder could not be evaluated: {what}")
        raise TrainingFailed(f"{folder.encoder} is trained and written, but could not be evaluated: {what}") from error
    summary = life.summary(status, metrics=results.pop("encoder"), baselines=results, evaluation_notes=told)
    folder.write_summary(summary)
    return summary


def _write_encoder(life: Life) -> None:
    """Write the product.

    Raises:
        TrainingFailed: it cannot be written.
    """
    run, environment = life.run, life.summary("interrupted")["environment"]
    try:
        save_encoder(run.folder, run.trainer.method.encoder, run.recipe, run.trainer.step, environment)
    except Exception as error:  # whatever it is, the weights are in the checkpoint
        raise TrainingFailed(f"{run.folder.encoder} could not be written: {error}") from error


def _write_lists(life: Life) -> None:
    """Write the list of samples that could not be read; where that fails, it is told and nothing else is lost."""
    bad = {**life.run.data.bad, **life.run.loader.bad}
    try:
        if bad:
            life.run.folder.write_bad_files(bad)
    except CannotWrite as error:
        life.monitor.problem(str(error))
