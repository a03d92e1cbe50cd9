"""The end of a run: the encoder is written, then the lists, then the evaluation. None can harm what is before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ssl_zoo.errors import CannotWrite, TrainingFailed, UserError, describe_error
from ssl_zoo.evaluation.evaluate import measure, tested
from ssl_zoo.evaluation.report_data import Keeper
from ssl_zoo.evaluation.verdict import verdict_on
from ssl_zoo.runs.product import save_encoder
from ssl_zoo.runs.report_data import ReportData
from ssl_zoo.runs.report_file import write_report_data
from ssl_zoo.training.active_run import ActiveRun
from ssl_zoo.training.board import neighbours_picture, write_projector
from ssl_zoo.training.event_file import EventFile
from ssl_zoo.training.stop import Interrupted


def finish(active: ActiveRun, status: str, encoder: nn.Module, baselines: Path | None = None) -> dict[str, Any]:
    """Write what a run leaves behind, evaluate its encoder, and return its summary; only the first process does.

    Until the evaluation has ended the summary says `interrupted`, so that a run that is killed here resumes with it.

    Args:
        active: of the run, which is saved.
        status: how the training ended: `done`, `collapsed` or `interrupted`.
        encoder: the trained one, with whole weights.
        baselines: folder in which the numbers of baselines are kept for other runs.

    Raises:
        TrainingFailed: the encoder could not be written, or not be evaluated; what has been written stays.
    """
    run, folder = active.run, active.run.folder
    if status == "interrupted":
        _write_lists(active)
        summary = active.summary(status)
        folder.write_summary(summary)
        return summary
    _write_encoder(active, encoder)
    _write_lists(active)
    folder.write_summary(active.summary("interrupted"))
    active.log("evaluating the frozen encoder")
    printed: list[str] = []

    def log(line: str) -> None:
        printed.append(line)
        active.log(f"  {line}")

    try:
        with active.stop.at_once():
            most = run.recipe.evaluation.report_samples
            keeper = Keeper(most) if most else None
            results = measure(
                run.recipe, encoder, run.policy, run.data, run.trainer.device,
                log=log, keeper=keeper, baselines=baselines,
            )  # fmt: skip
            _write_report_data(active, keeper)
    except Interrupted:
        active.log(f"stopped in the evaluation; {folder.encoder} is written")
        summary = active.summary("interrupted")
        folder.write_summary(summary)
        return summary
    except Exception as error:
        what = str(error) or type(error).__name__
        what = what if isinstance(error, (TrainingFailed, UserError)) else f"{type(error).__name__}: {what}"
        active.monitor.problem(f"the encoder could not be evaluated: {what}")
        raise TrainingFailed(f"{folder.encoder} is trained and written, but could not be evaluated: {what}") from error
    summary = active.summary(
        status,
        metrics=results.pop("encoder"),
        baselines=results,
        tested=tested(run.recipe, run.data),
        evaluation_notes=printed,
    )
    summary["verdict"] = verdict_on([summary], run.recipe.dump())
    folder.write_summary(summary)
    return summary


def _write_report_data(active: ActiveRun, keeper: Keeper | None) -> None:
    """Write what the report shows of samples; where that fails, nothing else is lost."""
    run = active.run
    if keeper is None:
        return
    try:
        data = keeper.data({"train": run.data.train, "test": run.data.test}, run.policy, run.data.modality)
        if data is not None:
            write_report_data(run.folder.report_data, data)
    except Exception as error:  # a picture that a plug-in draws may fail in any way
        active.monitor.problem(f"the report will show no samples: {describe_error(error)}")
        return
    if data is not None:
        try:
            _write_board(active, data)
        except (OSError, CannotWrite) as error:
            active.monitor.problem(f"TensorBoard will show no samples: {error}")


def _write_board(active: ActiveRun, data: ReportData) -> None:
    """Put the same into TensorBoard's files: neighbours, and the projector."""
    folder, step = active.run.folder.tensorboard, active.run.trainer.step
    events = EventFile(folder, purge=step + 1)
    try:
        for shown in data.members:
            picture = neighbours_picture(shown)
            if picture is not None:
                events.add_picture(f"neighbours/{shown.name}" if shown.name else "neighbours", picture, step)
    finally:
        events.close()
    write_projector(folder, data)


def _write_encoder(active: ActiveRun, encoder: nn.Module) -> None:
    """Write the product.

    Raises:
        TrainingFailed: it cannot be written.
    """
    run, environment = active.run, active.summary("interrupted")["environment"]
    try:
        save_encoder(run.folder, encoder, run.recipe, run.trainer.step, environment)
    except Exception as error:  # whatever it is, the weights are in the checkpoint
        raise TrainingFailed(f"{run.folder.encoder} could not be written: {error}") from error


def _write_lists(active: ActiveRun) -> None:
    """Write the list of samples that could not be read; where that fails, nothing else is lost."""
    bad = {**active.run.data.bad, **active.run.loader.bad}
    try:
        if bad:
            active.run.folder.write_bad_files(bad)
        else:  # those that the run has failed at before have been replaced
            active.run.folder.bad_files.unlink(missing_ok=True)
    except CannotWrite as error:
        active.monitor.problem(str(error))
