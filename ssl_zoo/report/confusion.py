"""What classifiers confused, as the page's template takes it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import torch

from ssl_zoo.report.embedding import Left, class_name
from ssl_zoo.report.table import COLUMNS, of_member
from ssl_zoo.runs.report_data import Guesses

CELLS = 20
"""The most classes of a table of numbers; of more there is a picture."""
PIXELS = 400
"""The most classes of a picture."""
LISTED = 10
"""The most confused pairs and the hardest classes that are listed."""


def confusions(left: Sequence[Left]) -> list[dict[str, Any]]:
    """Return, for each group and classifier, `name`, `accuracy`, and `rows` of a table, or a picture and lists."""
    return [
        {"name": f"{each.name}: {_title(key)}", "accuracy": guesses.accuracy, **shown(each.data.classes, guesses)}
        for each in left
        for key, guesses in each.data.guesses.items()
        if len(guesses.per_class)
    ]


def _title(key: str) -> str:
    member, protocol = of_member(key)
    name = COLUMNS.get((protocol, "top1"), protocol)
    return f"{member} {name}" if member else name


def shown(names: Sequence[str] | None, guesses: Guesses) -> dict[str, Any]:
    """Return what a template takes of the guesses of one classifier.

    Args:
        names: of the classes, where they have names.
        guesses: what was taken for what.

    Returns:
        `classes`, `samples`, and either `rows`, the (count, share of the row) of each cell, or `picture`, a PNG in
        base64 of the shares, `pairs` that are confused most and `hardest` classes.
    """
    totals = guesses.per_class[:, 1]
    used = sorted({*totals.nonzero().flatten().tolist(), *guesses.pairs[:, 1].tolist()})
    place = {label: i for i, label in enumerate(used)}
    matrix = torch.zeros(len(used), len(used), dtype=torch.int64)
    if len(used) <= PIXELS:
        for true, guess, count in guesses.pairs.tolist():
            matrix[place[true], place[guess]] = count
    shares = matrix / totals[used].clamp_min(1)[:, None]
    plain: dict[str, Any] = {"classes": [class_name(names, label) for label in used], "samples": int(totals.sum())}
    if len(used) <= CELLS:
        cells = zip(matrix.tolist(), shares.tolist(), strict=True)
        return {**plain, "rows": [list(zip(*row, strict=True)) for row in cells], "picture": None}
    pairs = [(class_name(names, a), class_name(names, b), num) for a, b, num in guesses.pairs.tolist() if a != b]
    right = (guesses.per_class[:, 0] / totals.clamp_min(1))[used]
    hardest = [used[i] for i in right.argsort(stable=True).tolist() if totals[used[i]]][:LISTED]
    return {
        **plain,
        "rows": None,
        "picture": _picture(shares) if len(used) <= PIXELS else None,
        "pairs": pairs[:LISTED],
        "hardest": [(class_name(names, i), *guesses.per_class[i].tolist()) for i in hardest],
    }


def _picture(shares: torch.Tensor) -> str:
    """Return a PNG in base64: a pixel for each pair of classes, the darker the more."""
    from PIL import Image

    out = io.BytesIO()
    pixels = (255 * (1 - shares.sqrt())).round().to(torch.uint8)  # the root, so that few are seen at all
    Image.fromarray(pixels.numpy()).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()
