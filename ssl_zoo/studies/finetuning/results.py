"""What a classifier got right and wrong: a row for each class, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ssl_zoo.report.confusion import shown
from ssl_zoo.report.render import rendered
from ssl_zoo.report.table import Table
from ssl_zoo.runs.report_data import Guesses

MOST_COLUMNS = 12
"""The most classes whose confusion matrix is printed; the files have it of any number."""


def per_class(labels: Tensor, guesses: Tensor, classes: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return precision, recall and support of each class.

    Args:
        labels: `(N,)`, the true ones.
        guesses: `(N,)`, the guessed ones.
        classes: the labels that have a row.
        names: theirs.

    Returns:
        `class`, `precision` (None where nothing was taken for it), `recall` (None where there is no sample of it) and
        `support`, its number of samples.
    """
    from sklearn.metrics import precision_recall_fscore_support

    found = precision_recall_fscore_support(
        labels.numpy(), guesses.numpy(), labels=np.asarray(classes), zero_division=np.nan
    )
    precision, recall, _, support = found
    return [
        {"class": name, "precision": _number(p), "recall": _number(r), "support": int(n)}
        for name, p, r, n in zip(names, precision, recall, support, strict=True)
    ]


def confusion(labels: Tensor, guesses: Tensor, classes: Sequence[int]) -> list[list[int]]:
    """Return the confusion matrix: a row for each true class, a column for what it was taken for."""
    from sklearn.metrics import confusion_matrix

    matrix: list[list[int]] = confusion_matrix(labels.numpy(), guesses.numpy(), labels=np.asarray(classes)).tolist()
    return matrix


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def class_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the table of the classes."""
    cells = [
        [row["class"], *(_percent(row[key]) for key in ("precision", "recall")), str(row["support"])] for row in rows
    ]
    return Table(["class", "precision", "recall", "support"], cells)


def confusion_table(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Table:
    """Return the confusion matrix as a table."""
    rows = [[name, *map(str, row)] for name, row in zip(names, matrix, strict=True)]
    return Table(["true class, taken for", *names], rows)


def accuracies(found: dict[str, Any]) -> Table:
    """Return the table of the accuracies of a result of `finetune`."""
    words = {"raw": "linear on raw samples", "linear": "linear on the frozen encoder", "fine_tuned": "fine-tuned"}
    rows = [
        [words[name], _percent(each["held_out"]), _percent(each["test"])] for name, each in found["accuracy"].items()
    ]
    return Table(["classifier", "held out", "test"], rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def text(found: dict[str, Any]) -> str:
    """Return a result of `finetune` as Markdown: accuracies, classes, and the confusion matrix where it is small."""
    parts = [accuracies(found).markdown(), class_table(found["per_class"]).markdown()]
    names = [row["class"] for row in found["per_class"]]
    if len(names) <= MOST_COLUMNS:
        parts.append(confusion_table(found["confusion"], names).markdown())
    return "\n\n".join(parts)


def page(found: dict[str, Any], guesses: Guesses, title: str) -> str:
    """Return a self-contained HTML page of a result of `finetune`.

    Args:
        found: the result.
        guesses: what was taken for what, by positions in `per_class`.
        title: of the page.
    """
    names = [row["class"] for row in found["per_class"]]
    content = {
        "title": title,
        "tables": {"Accuracy in percent": accuracies(found), "Classes": class_table(found["per_class"])},
        "confusion": {"accuracy": guesses.accuracy, **shown(names, guesses)},
        "notes": found["notes"],
    }
    return rendered("classifier.html", content)
