"""Predictions of a fine-tuned classifier on new samples: what `ssl-zoo predict` calls."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ssl_zoo.batch import View, encode
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.evaluation.encoding import BATCH, OpenRun, open_run
from ssl_zoo.evaluation.features import at_a_time, looks, mean_over, on_device
from ssl_zoo.runs.atomic import check_place, write_atomically
from ssl_zoo.studies.finetuning.classifier import TrainedClassifier, load_classifier

Log = Callable[[str], None]


def predict(
    classifier: str | Path,
    *,
    data: Any,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    log: Log = print,
) -> dict[str, Any]:
    """Return the class that a classifier gives to each sample, and its probability.

    Args:
        classifier: a folder that `finetune` has made.
        data: the samples, labelled or not, such as a folder or a zip, or a Python data set.
        out: a new CSV file for the same: `name`, `class`, `probability`; None writes none.
        overrides: dotted keys on the recipe, such as `data.on_error=skip`.
        log: prints a line for the user.

    Returns:
        `predictions` (`name`, `class`, `probability` of each sample, 0 to 1), `bad` (`{name: reason}` of the samples
        that cannot be read) and `out`.

    Raises:
        UserError: no such classifier or data, samples that cannot be read, or a file that exists.
    """
    path = None if out is None else Path(out)
    if path is not None:
        check_place(path, "--out")
        if path.suffix != ".csv":
            raise UserError(f"--out {path}: name a file that ends in .csv.")
        if path.exists():
            raise UserError(f"--out {path}: exists; name another file, or remove that one.")
    model = load_classifier(classifier)
    opened = open_run(classifier, data, overrides)
    rows, bad = _predicted(model, opened)
    for line in [f"{len(bad)} samples cannot be read and are left out"] if bad else []:
        log(line)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _csv(rows))
    return {"predictions": rows, "bad": bad, "out": None if path is None else str(path)}


def _predicted(model: TrainedClassifier, opened: OpenRun) -> tuple[list[dict[str, Any]], dict[str, str]]:
    import torch

    hardware, bad, rows = opened.hardware, dict(opened.data.bad), []
    total = sum(map(len, opened.splits.values()))

    def scores_of(view: View) -> Tensor:
        scores: Tensor = model.head(encode(model.encoder, view))
        return scores

    with (
        on_device(model, hardware.device, hardware.precision == "bf16") as call,
        torch.no_grad(),
        tqdm(total=total, desc="predicting", unit="sample", disable=None, leave=False) as bar,
    ):
        scores = partial(call, scores_of)
        for split in opened.splits.values():
            budget = split.budget()
            for index in torch.arange(len(split)).split(at_a_time(opened.policy.spec, BATCH)):
                views, kept = looks(opened.policy, split, index, hardware.device, budget)
                bar.update(len(index))
                if not views:
                    continue
                found = mean_over([view.map(lambda x: x.to(hardware.device)) for view in views], scores)
                names = (shown_name(split.name(i)) for i in kept.tolist())
                rows += [
                    {"name": name, "class": guess, "probability": share}
                    for name, (guess, share) in zip(names, model.named(found), strict=True)
                ]
            if budget is not None:
                bad |= budget.bad
    return rows, bad


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "class", "probability"])
    writer.writerows([row["name"], row["class"], f"{row['probability']:.6f}"] for row in rows)
    return out.getvalue()
