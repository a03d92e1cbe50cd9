"""Fine-tuning a run's encoder into a classifier: what `ssl-zoo finetune` calls."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.data.given import take
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.encoding import OpenRun, open_run
from ssl_zoo.evaluation.evaluate import recipe_of
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.protocols.linear import Linear
from ssl_zoo.evaluation.protocols.linear_augmented import plain
from ssl_zoo.evaluation.report_data import counted
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.hardware import environment
from ssl_zoo.recipe.part import PerMember
from ssl_zoo.runs.at_step import encoder_folder
from ssl_zoo.runs.atomic import check_place, write_atomically, writing
from ssl_zoo.runs.folder import RunFolder, to_json
from ssl_zoo.studies.finetuning.classifier import write_classifier
from ssl_zoo.studies.finetuning.results import confusion, page, per_class, text
from ssl_zoo.studies.finetuning.samples import LabelledSamples, labelled_samples, mild_views
from ssl_zoo.studies.finetuning.settings import Settings, settings_of
from ssl_zoo.studies.finetuning.training import Trained, scores_of, train

MOST_RAW = 20_000
"""Labelled samples up to which the probe of raw samples is measured: it holds all of them in memory."""

Log = Callable[[str], None]


def finetune(
    run: str | Path,
    *,
    out: str | Path,
    data: Any = None,
    overrides: Sequence[str] = (),
    log: Log = print,
    **options: Any,
) -> dict[str, Any]:
    """Make a classifier of a run's encoder and labelled samples, and write it as a folder.

    First a linear classifier is trained on the frozen encoder, then all weights on mild views (crops and flips), with
    learning rates that fall from the classifier to the first layer. A fifth of train is held out, drawn by class: the
    training ends when it stays clearly worse there than it was, and the last state that is not so is kept, which may
    be the linear classifier. The test split, or where there is none another fifth that was set aside before, is looked
    at once, at the end.

    Args:
        run: a run folder, or a checkpoint of one, such as `RUN@step500`; see `load_encoder`.
        out: the folder of the classifier, which must be new: `recipe.yaml`, `encoder.safetensors` and `encoder.json`
            (with which it is evaluated, embedded and exported like a run), `classifier.safetensors`,
            `classifier.json`, `results.json`, `results.md`, `confusion.html`.
        data: the labelled samples, a place or a Python data set, see `ssl_zoo.data.given.take`; None takes the run's.
        overrides: dotted keys on the run's recipe, such as `data.source.label=COLUMN`.
        log: prints a line for the user.
        **options: see `ssl_zoo.studies.finetuning.settings.Settings`.

    Returns:
        What is in `results.json`: `out`, `accuracy` (`{raw, linear, fine_tuned: {held_out, test}}`), `per_class`,
        `confusion`, `samples` (the number of each part), `step` (that was kept), `last_step`, `looks`, `settings`,
        `notes`.

    Raises:
        UserError: no such run or data, no labels to learn from, samples that are mappings of several, an option out of
            range, or a folder that exists.
        TrainingFailed: the loss is not finite.
    """
    settings = settings_of(options)
    path = Path(out)
    check_place(path, "--out", folder=True)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"--out {path}: exists; name a new folder, or remove that one.")
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        log(line)

    given = take(data)
    given = take(data)
    recipe = recipe_of(RunFolder(encoder_folder(run)), given, overrides)
    if isinstance(recipe.views, PerMember):
        raise UserError(f"{run}: fine-tuning takes samples of one modality, and the run's are mappings of several.")
    opened = open_run(run, given, overrides, again=True)
    samples = labelled_samples(opened, settings.labels, settings.seed, note)
    trained = train(samples, mild_views(opened.policy, recipe.views), settings)
    found, labels, guesses = _measured(samples, trained, opened, settings)
    sizes = {"learn": len(samples.learn), "held_out": len(samples.held), "test": len(samples.test)}
    result = {
        "out": str(path), **found, "samples": sizes, "step": trained.step, "last_step": trained.last,
        "looks": trained.looks, "settings": settings.model_dump(), "notes": notes,
    }  # fmt: skip
    card = {"classes": samples.names, "labels": samples.classes.tolist(), "accuracy": found["accuracy"]}
    with _new_folder(path) as folder:
        about = environment(opened.hardware)
        write_classifier(folder, trained.model, recipe, trained.step, about, {**card, "settings": result["settings"]})
        write_atomically(folder / "results.json", to_json({**result, "environment": about}, indent=2) + "\n")
        write_atomically(folder / "results.md", text(result) + "\n")
        write_atomically(folder / "confusion.html", page(result, counted(labels, guesses), f"Classifier {path.name}"))
    return result


def _measured(
    samples: LabelledSamples, trained: Trained, opened: OpenRun, settings: Settings
) -> tuple[dict[str, Any], Tensor, Tensor]:
    """Return the accuracies and tables, and the true and guessed positions `(N,)` of the test samples among the rows.

    A test sample of a class that train lacks counts as wrong, and its class has a row.
    """
    scores, y = scores_of(trained.model, samples.test)
    every = torch.cat([samples.classes, y]).unique()
    names = [samples.labels.name(int(label)) for label in every]
    labels, guesses = torch.searchsorted(every, y), torch.searchsorted(every, samples.classes[scores.argmax(dim=1)])
    best = next(look for look in trained.looks if look["step"] == trained.step)
    accuracy = {
        **_raw(samples, opened, settings.seed),
        "linear": {"held_out": trained.looks[0]["accuracy"], "test": _linear_on_test(samples, trained)},
        "fine_tuned": {"held_out": best["accuracy"], "test": (labels == guesses).float().mean().item()},
    }
    rows = range(len(every))
    tables = {"per_class": per_class(labels, guesses, rows, names), "confusion": confusion(labels, guesses, rows)}
    return {"accuracy": accuracy, **tables}, labels, guesses


def _linear_on_test(samples: LabelledSamples, trained: Trained) -> float:
    """Return the accuracy on the test of the linear classifier on the encoder as it was."""
    x, y = plain(samples.test)
    weight, bias = trained.linear
    guesses = samples.classes[torch.addmm(bias, x, weight.T).argmax(dim=1).cpu()]
    return (guesses == y).float().mean().item()


def _raw(samples: LabelledSamples, opened: OpenRun, seed: int) -> dict[str, Any]:
    """Return the accuracy of a linear classifier on raw samples, which an encoder has to beat: of the same labels."""
    learn, held, test = samples.learn, samples.held, samples.test
    if max(len(learn) + len(held), len(test)) > MOST_RAW:
        return {}
    both = replace(learn, index=torch.cat([learn.index, held.index]))

    def features(subject: Subject) -> Features:
        found, y = subject.collect(lambda views: {"x": opened.data.modality.raw(views[0])})
        return Features(found["x"], y)

    top1 = Linear(seed=seed)(features(both), features(test))["top1"]
    return {"raw": {"held_out": None, "test": top1}}


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A context with a new folder that becomes `path` at its end; nothing is left of it where that is not reached."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        with writing(path):
            if path.is_dir():
                path.rmdir()  # it is empty
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _umask() -> int:
    """Return the user's mask of modes, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
