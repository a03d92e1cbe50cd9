"""Groups of duplicates, exact and near, as a table and as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.report.render import write_page
from ssl_zoo.report.table import Table
from ssl_zoo.runs.report_data import MOST_SAMPLES
from ssl_zoo.search.contents import Contents, exact_groups, same_bytes
from ssl_zoo.search.exact import nearest
from ssl_zoo.search.groups import stars
from ssl_zoo.search.neighbours import check_output
from ssl_zoo.search.pages import Cells
from ssl_zoo.search.tables import write_table
from ssl_zoo.search.thresholds import Thresholds, calibrated
from ssl_zoo.search.vectors import Vectors, open_searched, progress, vectors_of

Log = Callable[[str], None]

CANDIDATES = 10
"""Nearest samples by the encoder, and by coarse outlines, that are looked at as near duplicates of each."""
LEAST_COARSE = 0.4
"""Cosine of coarse outlines; pairs below are not compared any further."""
PAIRS = 256
"""Pairs that are compared at a time."""
MOST_GROUPS = 200
"""On a page."""
COLUMNS: dict[str, type] = {"group": int, "kind": str, "name": str, "likeness": float, "cosine": float}


@dataclass(frozen=True)
class Member:
    """A sample in a group of duplicates.

    Attributes:
        place: which sample.
        kind: `first`, or how it duplicates the first: `bytes` (the same file under another name), `content` (another
            file that decodes to the same), or `near`.
        likeness: to the first, in the space of the data.
        cosine: with the first, by the encoder.
    """

    place: int
    kind: str
    likeness: float
    cosine: float


def duplicates(
    run: str | Path,
    out: str | Path = "duplicates.csv",
    *,
    data: Any = None,
    threshold: float | None = None,
    min_cosine: float | None = None,
    features: str | Path | None = None,
    member: str | None = None,
    page: bool = True,
    overrides: Sequence[str] = (),
    log: Log = print,
) -> dict[str, Any]:
    """Write the groups of exact and near duplicates among samples: a table, and a page of pictures beside it.

    Exact duplicates are the same decoded content. A near duplicate has two witnesses: the cosine by the encoder, and
    the likeness of the contents themselves, of pictures the correlation of their pixels after the one is laid onto the
    other. By default both thresholds come from slightly changed copies of some of the samples: they leave twice the
    difference that 99 % of the copies have. Candidates are the nearest ten of each sample, by the encoder and by coarse
    outlines. Each member of a group is a duplicate of its first sample, so that all but the first can be left out.

    The table has a row for each member: `group` from 1, `kind` (`first`, `bytes`, `content`, `near`), `name`,
    `likeness` and `cosine` with the first of the group, and `label` where the data have labels.

    Args:
        run: a finished run folder.
        out: TABLE.csv or TABLE.parquet; the page is TABLE.html.
        data: other data than the run's: a place, several, or a data set of Python, see `ssl_zoo.data.given.take`.
        threshold: the least likeness of near duplicates, -1 to 1, in place of the calibrated one.
        min_cosine: their least cosine by the encoder, in place of the calibrated one.
        features: a file that `embed` has written, in place of computing the vectors anew.
        member: of samples that are mappings, which member is compared.
        page: whether a page is written.
        overrides: dotted keys on the run's recipe.
        log: prints a line for the user.

    Returns:
        `out`, `page` (None where there is none), `num` (samples), `threshold`, `min_cosine`, `copies` (that they were
        calibrated on), `quantiles` (of the copies) and `groups`, lists of `{name, kind, likeness, cosine}`.

    Raises:
        UserError: a threshold outside its range, fewer than two samples, a file that exists, no such run or data, or
            features of another encoder or of other data.
        CannotWrite: the disk is full.
    """
    for name, value in (("--threshold", threshold), ("--min-cosine", min_cosine)):
        if value is not None and not -1 <= value <= 1:
            raise UserError(f"{name} {value:g}: give a number from -1 to 1; 1 means equal.")
    path = Path(out)
    check_output(path, page)
    searched = open_searched(run, data, overrides, member)
    vectors = vectors_of(searched, features, path.parent, log)
    if len(vectors) < 2:
        raise UserError(f"{run}: the data have {len(vectors)} sample; duplicates are looked for among two or more.")
    contents = Contents(vectors, path.parent)
    thresholds = calibrated(vectors, contents, threshold, min_cosine)
    groups = _groups(vectors, contents, thresholds)
    _write(path, vectors, groups)
    made = _page(path.with_suffix(".html"), vectors, groups, thresholds) if page else None
    return {
        "out": str(path), "page": None if made is None else str(made), "num": len(vectors),
        "threshold": thresholds.likeness, "min_cosine": thresholds.cosine, "copies": thresholds.copies,
        "quantiles": thresholds.quantiles, "groups": [[_plain(vectors, each) for each in group] for group in groups],
    }  # fmt: skip


def _groups(vectors: Vectors, contents: Contents, thresholds: Thresholds) -> list[list[Member]]:
    exact = {group[0]: group for group in exact_groups(contents.digests)}
    copies = {i for group in exact.values() for i in group[1:]}
    rest = np.array([i for i in range(len(vectors)) if i not in copies])
    near = _near(vectors, contents, thresholds, rest)
    found = stars(len(vectors), near)
    grouped = {i for group in found for i in group}
    found += [[first] for first in exact if first not in grouped]
    made = []
    for group in found:
        members = [_exact(vectors, group[0], i) for i in exact.get(group[0], group[:1])]
        for i in group[1:]:
            likeness, cosine = near[min(i, group[0]), max(i, group[0])]
            members += [Member(j, "near", likeness, cosine) for j in exact.get(i, [i])]
        made.append(members)
    return sorted(made, key=lambda members: (-len(members), members[0].place))


def _exact(vectors: Vectors, first: int, i: int) -> Member:
    if i == first:
        return Member(i, "first", 1.0, 1.0)
    same = same_bytes(vectors.path(first), vectors.path(i))
    return Member(i, "bytes" if same else "content", 1.0, 1.0)


def _near(
    vectors: Vectors, contents: Contents, thresholds: Thresholds, rest: Any
) -> dict[tuple[int, int], tuple[float, float]]:
    """Return the near duplicates among some samples: `{(i, j): (likeness, cosine)}`, i < j."""
    pairs = sorted(_candidates(vectors, contents, rest))
    found = {}
    with progress(len(pairs), "pair") as bar:
        for start in range(0, len(pairs), PAIRS):
            some = np.array(pairs[start : start + PAIRS])
            bar.update(len(some))
            cosines = (vectors.x[some[:, 0]] * vectors.x[some[:, 1]]).sum(axis=1)
            coarse = (contents.coarse[some[:, 0]] * contents.coarse[some[:, 1]]).sum(axis=1)
            kept = (cosines >= thresholds.cosine) & (coarse >= min(LEAST_COARSE, thresholds.likeness))
            some, cosines = some[kept], cosines[kept]
            if not len(some):
                continue
            try:
                one, other = (contents.outlines(some[:, side].tolist()) for side in (0, 1))
            except BadSample as error:
                raise UserError(f"{error} It was there a moment ago.") from None
            likeness = contents.likeness.compare(one, other).tolist()
            for (i, j), value, cosine in zip(some.tolist(), likeness, cosines.tolist(), strict=True):
                if value >= thresholds.likeness:
                    found[i, j] = (value, min(1.0, cosine))
    return found


def _candidates(vectors: Vectors, contents: Contents, rest: Any) -> set[tuple[int, int]]:
    """Return the pairs (i, j), i < j, of samples that are among the nearest of each other's in either space."""
    found: set[tuple[int, int]] = set()
    device = vectors.opened.hardware.device
    for x in (vectors.x, contents.coarse):
        some = x if len(rest) == len(x) else x[rest]
        if len(some) < 2:
            break
        with progress(len(some), "sample") as bar:
            for start, places, _ in nearest(some, some, CANDIDATES, own=True, device=device):
                own = rest[start : start + len(places)]
                near = rest[places.numpy()]
                for i, row in zip(own.tolist(), near.tolist(), strict=True):
                    found |= {(min(i, j), max(i, j)) for j in row}
                bar.update(len(places))
    return found


def _plain(vectors: Vectors, each: Member) -> dict[str, Any]:
    return {
        "name": vectors.name(each.place), "kind": each.kind, "likeness": each.likeness, "cosine": each.cosine,
    }  # fmt: skip


def _write(path: Path, vectors: Vectors, groups: Sequence[Sequence[Member]]) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for number, group in enumerate(groups, start=1):
            for each in group:
                yield {"group": number, **_plain(vectors, each), "label": vectors.label(each.place)}

    write_table(path, COLUMNS | ({"label": str} if vectors.labelled else {}), rows())


_SAYS = {"first": "stays", "bytes": "the same file", "content": "the same content"}


def _page(out: Path, vectors: Vectors, groups: Sequence[Sequence[Member]], thresholds: Thresholds) -> Path:
    shown: list[Sequence[Member]] = []
    for group in groups[:MOST_GROUPS]:
        if sum(map(len, shown)) + len(group) > MOST_SAMPLES:
            break
        shown.append(group)
    cells = Cells(vectors, [each.place for group in shown for each in group])
    made = [
        {
            "number": number,
            "cells": [
                cells.cell(
                    each.place, says=_SAYS.get(each.kind, f"near: {each.likeness:.3f}, cosine {each.cosine:.3f}")
                )
                for each in group
            ],
        }
        for number, group in enumerate(shown, start=1)
    ]
    left = len(groups) - len(shown)
    content = {
        "title": "Duplicates", "about": _about(vectors, groups, thresholds), "groups": made, "sheets": cells.sheets,
        "left": f"{left} more groups are in the table beside this page." if left else "",
        "calibration": _quantiles(thresholds),
    }  # fmt: skip
    return write_page(out, "duplicates.html", content)


def _about(vectors: Vectors, groups: Sequence[Sequence[Member]], thresholds: Thresholds) -> list[str]:
    run = shown_name(str(vectors.opened.folder.path))
    others = sum(len(group) - 1 for group in groups)
    near = sum(each.kind == "near" for group in groups for each in group)
    source = (
        f"this leaves room for {thresholds.copies} slightly changed copies of these samples, see below"
        if thresholds.copies
        else "the two were given, or are those of a modality that makes no changed copies"
    )
    return [
        f"{len(groups)} groups among {len(vectors)} samples: {others} are duplicates of the first of their group, "
        f"{near} of them near ones. Vectors by the encoder of {run}.",
        f"Near duplicates have a likeness of at least {thresholds.likeness:.3f} and a cosine by the encoder of at "
        f"least {thresholds.cosine:.3f}: {source}.",
    ]


def _quantiles(thresholds: Thresholds) -> Table | None:
    if not thresholds.quantiles:
        return None
    names = {"likeness": "likeness of the contents", "cosine": "cosine by the encoder"}
    shares = list(next(iter(thresholds.quantiles.values())))
    each = list(thresholds.quantiles.values())
    rows = [
        (f"{100 * float(share):g} % of the copies are below", *(f"{values[share]:.4f}" for values in each))
        for share in shares
    ]
    return Table(["", *(names[name] for name in thresholds.quantiles)], rows)
