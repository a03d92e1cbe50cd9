"""The encoder of a checkpoint: of a run that was stopped, and of a step that was kept.

A user names it `RUN@step500`, `RUN@best` or `RUN@last`, or, of a run that has not finished, by the run folder alone.
It is written into `RUN/at-step-N`, a folder with `encoder.safetensors`, `encoder.json` and `recipe.yaml`, which is
taken where a finished run is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_zoo.errors import CannotWrite, UserError
from ssl_zoo.hardware import choose, environment
from ssl_zoo.methods.build import build
from ssl_zoo.recipe.model import parse
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder, write_atomically
from ssl_zoo.runs.imports import check_imported
from ssl_zoo.runs.product import save_encoder

STATED = re.compile(r"step-?(\d+)")
_LARGEST = 2**20
"""Bytes of a card or a summary that are read."""


def silent(line: str) -> None:
    """Log nothing."""


def encoder_folder(run: str | Path, log: Callable[[str], None] = silent) -> Path:
    """Return the folder with the encoder that a user names, written if it is that of a checkpoint.

    Args:
        run: a run folder or any folder with an encoder; `RUN@stepN`, `RUN@best`, `RUN@last`; or a checkpoint's file.
        log: prints which step it is, where that is not the end of a finished run.

    Raises:
        UserError: there is no such checkpoint, it holds no trained weights, or the folder cannot be written.
    """
    path = Path(run)
    named = _named(path)
    if named is None:
        if (steps := _gone_on(RunFolder(path))) is not None:
            log(
                f"{run}: its encoder is that of step {steps[0]}; the run is at step {steps[1]} now, which is {run}@last"
            )
        return path
    folder, file = named
    check_imported(folder.path)
    state = checkpoint.load(file)
    if "method" not in state:
        raise UserError(f"{file}: is the state before the first step, which has no trained encoder.")
    place = write_encoder(folder, file, state)
    log(f"{run}: the encoder of step {state['step']} ({file}), as {place}")
    return place


def _named(path: Path) -> tuple[RunFolder, Path] | None:
    """Return the run and the checkpoint that a user names; None where it is a folder with an encoder, or nothing."""
    if path.suffix == ".pt" and path.is_file():
        folder = RunFolder(path.parent.parent)
        return (folder, path) if folder.recipe.is_file() else None
    before, at, which = str(path).rpartition("@")
    if at and not path.exists() and RunFolder(before).recipe.is_file():
        return RunFolder(before), _checkpoint(RunFolder(before), which)
    folder = RunFolder(path)
    stopped = folder.recipe.is_file() and folder.checkpoint.is_file() and not folder.encoder.is_file()
    return (folder, folder.checkpoint) if stopped else None


def merge_checkpoint(run: str | Path, log: Callable[[str], None] = silent) -> dict[str, Any]:
    """Make one file of a checkpoint and its parts, see `ssl_zoo.runs.checkpoint`.

    Args:
        run: a run folder, for its last checkpoint; or `RUN@stepN`, `RUN@best`, `RUN@last`.
        log: prints what a user has to know of the lock.

    Returns:
        `file`, `step` and `bytes`.

    Raises:
        UserError: there is no such checkpoint, it cannot be read, or another process works in the folder.
        CannotWrite: the disk is full, or the folder is read-only; the checkpoint is what it was.
    """
    before, at, which = str(run).rpartition("@")
    folder = RunFolder(before if at and not Path(run).exists() else run)
    if not folder.recipe.is_file():
        raise UserError(f"{folder.path}: holds no run; name a run folder, or RUN@stepN.")
    with folder.claimed(log):
        path = _checkpoint(folder, which if folder.path != Path(run) else "last")
        step = checkpoint.merge(path)
    return {"file": str(path), "step": step, "bytes": path.stat().st_size}


def _gone_on(folder: RunFolder) -> tuple[int, int] | None:
    """Return the step of a run's encoder and that of the run, where it is made longer and has not finished."""
    summary = _stated(folder.summary)
    card, steps = _stated(folder.card).get("steps"), summary.get("steps")
    if summary.get("status") != "interrupted" or not isinstance(card, int) or not isinstance(steps, int):
        return None
    return (card, steps) if steps > card else None


def _stated(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file of a run; an empty one where there is none, whose readers say what is wrong."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _checkpoint(folder: RunFolder, which: str) -> Path:
    """Return the checkpoint of a run that a word names.

    Raises:
        UserError: it has no such one.
    """
    steps = folder.kept_steps()
    known = [*(f"step{step}" for step in steps[-5:]), *(["best"] if folder.best.is_file() else []), "last"]
    stated = STATED.fullmatch(which)
    path = {"last": folder.checkpoint, "best": folder.best}.get(which)
    if stated is not None:
        path = folder.kept(int(stated[1]))
    if path is None or not path.is_file():
        more = "" if steps else "; training.keep_every keeps some"
        raise UserError(f"{folder.path}@{which}: there is no such checkpoint; there is {', '.join(known)}{more}.")
    return path


def write_encoder(run: RunFolder, file: Path, state: dict[str, Any]) -> Path:
    """Write the encoder of a checkpoint, unless it is there already, and return its folder.

    Args:
        run: of the checkpoint.
        file: the checkpoint.
        state: its content.

    Raises:
        UserError: the weights do not fit the recipe, or the folder cannot be written.
    """
    place = RunFolder(run.path / f"at-step-{state['step']}")
    digest = checkpoint.digest(file)
    if _is_of(place, digest):
        return place.path
    recipe = parse(state["recipe"], f"the recipe in {file}")
    method = build(recipe)
    try:
        method.load_state_dict(state["method"])
    except (RuntimeError, TypeError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"{file}: does not fit this version of ssl_zoo or of your parts: {text[:300]}.") from None
    made = {**environment(choose(for_training=False)), "checkpoint_sha256": digest}
    try:
        place.path.mkdir(exist_ok=True)
        write_atomically(place.recipe, recipe.to_yaml())
        save_encoder(place, method.product, recipe, state["step"], made)
    except (OSError, CannotWrite) as error:
        raise UserError(f"{place.path}: cannot be written ({error}); copy the run to where you may write.") from None
    return place.path


def _is_of(place: RunFolder, digest: str) -> bool:
    """Return whether a folder holds the encoder of a checkpoint."""
    made = _stated(place.card).get("environment")
    return isinstance(made, dict) and made.get("checkpoint_sha256") == digest and place.encoder.is_file()
