"""The nearest neighbours of samples, as a table and as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ssl_zoo.batch import encode
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.files import read_regular
from ssl_zoo.data.source import Sample
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.evaluation.embed import check_new
from ssl_zoo.evaluation.features import mean_over, on_device
from ssl_zoo.report.render import write_page
from ssl_zoo.runs.atomic import check_place
from ssl_zoo.search.exact import nearest
from ssl_zoo.search.pages import Cells, Shown
from ssl_zoo.search.tables import check_table, write_table
from ssl_zoo.search.vectors import Searched, Vectors, open_searched, progress, vectors_of

Log = Callable[[str], None]

MOST_ROWS = 50
"""Samples on a page, when no query is named: spread evenly over the data."""
MOST_SHOWN = 20
"""Neighbours of each on a page."""
MOST_RETURNED = 10_000
"""Rows that are returned, and printed as JSON, beside the table."""


class Near(NamedTuple):
    """A query with its neighbours: positions and cosines, the nearest first."""

    query: Shown
    places: list[int]
    cosines: list[float]


def neighbours(
    run: str | Path,
    out: str | Path = "neighbours.csv",
    *,
    data: Any = None,
    queries: Sequence[str | Path] = (),
    k: int = 10,
    features: str | Path | None = None,
    member: str | None = None,
    page: bool = True,
    overrides: Sequence[str] = (),
    log: Log = print,
) -> dict[str, Any]:
    """Write the nearest neighbours of samples by a run's encoder: a table, and a page of pictures beside it.

    The search is exact: the cosine of every pair is computed, block by block. The table has a row for each neighbour:
    `query`, `rank` from 1, `name` and `cosine`, and `query_label` and `label` where the data have labels.

    Args:
        run: a finished run folder.
        out: TABLE.csv or TABLE.parquet; the page is TABLE.html.
        data: other data than the run's, in which neighbours are looked for: a place, several, or a data set of
            Python, see `ssl_zoo.data.given.take`.
        queries: files of the modality whose neighbours are wanted; none takes every sample of the data. A sample is not
            its own neighbour.
        k: neighbours of each.
        features: a file that `embed` has written, in place of computing the vectors of the data anew.
        member: of samples that are mappings, whose vectors are compared.
        page: whether a page is written.
        overrides: dotted keys on the run's recipe.
        log: prints a line for the user.

    Returns:
        `out`, `page` (None where there is none), `num` (samples searched), `k`, `queries` (how many) and
        `neighbours`, the first 10,000 rows of the table.

    Raises:
        UserError: a query that is no sample of the modality, fewer samples than `k`, a file that exists, no such run or
            data, or features of another encoder or of other data.
        CannotWrite: the disk is full.
    """
    path = Path(out)
    check_output(path, page)
    searched = open_searched(run, data, overrides, member)
    samples = [read_query(searched, str(query)) for query in queries]  # before all that takes time
    vectors = vectors_of(searched, features, path.parent, log)
    most = len(vectors) - (not queries)
    if not 1 <= k <= most:
        raise UserError(f"-k {k}: there are {len(vectors)} samples; give at least 1 and at most {most}.")
    found = _of_files(vectors, queries, samples, k) if queries else _of_samples(vectors, k)
    first: list[dict[str, Any]] = []
    shown: list[Near] = []
    step = 1 if queries else -(-len(vectors) // MOST_ROWS)

    def rows() -> Iterator[Mapping[str, Any]]:
        for number, near in enumerate(found):
            if number % step == 0 and len(shown) < MOST_ROWS:
                shown.append(near)
            for row in _rows(vectors, near):
                if len(first) < MOST_RETURNED:
                    first.append(row)
                yield row

    labels = {"query_label": str, "label": str} if vectors.labelled else {}
    write_table(path, {"query": str, "rank": int, "name": str, "cosine": float, **labels}, rows())
    made = _page(path.with_suffix(".html"), vectors, shown, bool(queries)) if page else None
    return {
        "out": str(path), "page": None if made is None else str(made), "num": len(vectors), "k": k,
        "queries": len(queries) or len(vectors), "neighbours": first,
    }  # fmt: skip


def check_output(path: Path, page: bool) -> None:
    """Make sure that a table and its page can be written, and make their folder.

    Raises:
        UserError: an ending of no table, a place that cannot be written, or a file that exists.
    """
    check_table(path)
    check_new(path, "--out", *([path.with_suffix(".html")] if page else []))
    check_place(path, "--out")
    path.parent.mkdir(parents=True, exist_ok=True)


def _of_samples(vectors: Vectors, k: int) -> Iterator[Near]:
    device = vectors.opened.hardware.device
    with progress(len(vectors), "sample") as bar:
        for start, places, cosines in nearest(vectors.x, vectors.x, k, own=True, device=device):
            for i, (row, values) in enumerate(zip(places.tolist(), cosines.tolist(), strict=True)):
                yield Near(start + i, row, values)
            bar.update(len(places))


def _of_files(vectors: Vectors, queries: Sequence[str | Path], samples: Sequence[Sample], k: int) -> Iterator[Near]:
    x = encoded(vectors, samples, [f"--query {query}" for query in queries])
    most = min(k + 1, len(vectors))
    for start, places, cosines in nearest(x, vectors.x, most, device=vectors.opened.hardware.device):
        for i, (row, values) in enumerate(zip(places.tolist(), cosines.tolist(), strict=True), start=start):
            own = [j for j in row if _same_file(vectors.path(j), str(queries[i]))]
            others = [(j, value) for j, value in zip(row, values, strict=True) if j not in own][:k]
            yield Near((shown_name(str(queries[i])), samples[i]), *map(list, zip(*others, strict=True)))


def _same_file(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):
        return False  # a row of a table, or a name in an archive


def read_query(searched: Searched, path: str) -> Sample:
    """Return a file as a sample of the modality that is searched.

    Raises:
        UserError: there is no such file, or it is no such sample.
    """
    if not Path(path).is_file():
        raise UserError(f"--query {path}: there is no such file.")
    modality = searched.modality
    try:
        sample = modality.decode(read_regular(path, modality), path)
        searched.looks(sample)
    except BadSample as error:
        kind = modality.spec.modality
        raise UserError(f"--query {path}: cannot be read as a sample of the modality {kind}: {error.reason}.") from None
    except UserError as error:
        raise UserError(f"--query {path}: {error}") from None
    return sample


def encoded(searched: Searched, samples: Sequence[Sample], names: Sequence[str]) -> Any:
    """Return the vectors of samples that are not in the data, at unit length, float32 `(Q, D)`.

    Args:
        searched: its encoder is used.
        samples: of its modality.
        names: of them, for messages.

    Raises:
        UserError: one is not finite.
    """
    hardware, found = searched.opened.hardware, []
    with torch.no_grad(), on_device(searched.opened.encoder, hardware.device, hardware.precision == "bf16") as call:
        embed = partial(call, encode, searched.opened.encoder)
        for sample, name in zip(samples, names, strict=True):
            moved = [view.map(lambda x: x.to(hardware.device)) for view in searched.looks(sample)]
            h = mean_over(moved, embed)[0].double().cpu()
            if not bool(h.isfinite().all()):
                raise UserError(f"{name}: its vector is not finite (nan or inf), and so it has no neighbours.")
            found.append((h / h.norm().clamp_min(1e-12)).float().numpy())
    return np.stack(found)


def _rows(vectors: Vectors, near: Near) -> Iterator[dict[str, Any]]:
    name = vectors.name(near.query) if isinstance(near.query, int) else near.query[0]
    for rank, (i, cosine) in enumerate(zip(near.places, near.cosines, strict=True), start=1):
        row = {"query": name, "rank": rank, "name": vectors.name(i), "cosine": float(cosine)}
        if vectors.labelled:
            row["query_label"] = vectors.label(near.query) if isinstance(near.query, int) else None
            row["label"] = vectors.label(i)
        yield row


def _page(out: Path, vectors: Vectors, rows: Sequence[Near], by_file: bool) -> Path:
    shown: dict[Any, Shown] = {}
    for near in rows:
        for each in (near.query, *near.places[:MOST_SHOWN]):
            shown.setdefault(each if isinstance(each, int) else each[0], each)
    cells, made = Cells(vectors, list(shown.values())), []
    for near in rows:
        own = vectors.label(near.query) if isinstance(near.query, int) else None
        found = []
        for i, cosine in zip(near.places[:MOST_SHOWN], near.cosines, strict=False):
            label = vectors.label(i)
            found.append(cells.cell(i, cosine=cosine, same=None if None in (own, label) else own == label))
        made.append({"query": cells.cell(near.query), "near": found})
    run = shown_name(str(vectors.opened.folder.path))
    about = [f"Among {len(vectors)} samples, by the encoder of {run}."]
    if not by_file and len(rows) < len(vectors):
        about.append(f"{len(rows)} samples, spread evenly over the data, are shown; the table beside it has all.")
    if vectors.labelled and not by_file:
        about.append("Green: the neighbour has the label of the sample. Orange: it has another.")
    content = {"title": "Nearest neighbours", "about": about, "rows": made, "sheets": cells.sheets}
    return write_page(out, "neighbours.html", content)
