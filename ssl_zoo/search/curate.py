"""A diverse subset of samples, as a list of files that the sources read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.embed import check_new
from ssl_zoo.runs.atomic import check_place
from ssl_zoo.search.selection import k_centre, k_means
from ssl_zoo.search.tables import check_table, write_table
from ssl_zoo.search.vectors import Vectors, open_searched, vectors_of

Log = Callable[[str], None]
How = Literal["k_means", "k_centre"]


def curate(
    run: str | Path,
    out: str | Path,
    *,
    num: int,
    data: Any = None,
    how: How = "k_means",
    seed: int = 0,
    features: str | Path | None = None,
    member: str | None = None,
    overrides: Sequence[str] = (),
    log: Log = print,
) -> dict[str, Any]:
    """Choose a diverse subset of samples by a run's encoder, and write a list of them; no file is copied.

    `k_means` takes the sample nearest to the centre of each of `num` clusters: typical ones, of every kind there is. It
    is the default because few labels are best spent on typical samples (Hacohen et al. 2022, arXiv 2202.02794).
    `k_centre` takes samples that are far from each other, so that none is far from all chosen ones (Sener & Savarese
    2018, arXiv 1708.00489); outliers, such as damaged or foreign pictures, come first. Distances are those of vectors
    at unit length.

    Args:
        run: a finished run folder.
        out: LIST.csv or LIST.parquet, with the columns `path` (absolute), and `label` where the data have labels: a
            source of other commands. Of samples that are no files, such as the rows of a table, `name` in place of
            `path`.
        num: of samples to choose.
        data: other data than the run's: a place, several, or a data set of Python, see `ssl_zoo.data.given.take`.
        how: `k_means` or `k_centre`.
        seed: of the clusters of `k_means`.
        features: a file that `embed` has written, in place of computing the vectors anew.
        member: of samples that are mappings, whose vectors are compared.
        overrides: dotted keys on the run's recipe.
        log: prints a line for the user.

    Returns:
        `out`, `num` (chosen), `of` (samples) and `how`.

    Raises:
        UserError: fewer samples than `num`, a file that exists, no such run or data, or features of another encoder or
            of other data.
        CannotWrite: the disk is full.
    """
    choose = {"k_means": lambda x: k_means(x, num, seed), "k_centre": lambda x: k_centre(x, num)}.get(how)
    if choose is None:
        raise UserError(f"--how {how}: choose k_means or k_centre.")
    path = Path(out)
    check_table(path)
    check_new(path, "--out")
    check_place(path, "--out")
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = vectors_of(open_searched(run, data, overrides, member), features, path.parent, log)
    if not 1 <= num <= len(vectors):
        raise UserError(f"--num {num}: there are {len(vectors)} samples to choose from; give at least 1 and no more.")
    chosen = choose(vectors.x)
    files = all(os.path.isfile(vectors.path(i)) for i in chosen)
    if not files:
        log("the samples are no files: the list has their names, and no paths that another command could read")
    key = "path" if files else "name"
    write_table(path, {key: str} | ({"label": str} if vectors.labelled else {}), _rows(vectors, chosen, key))
    return {"out": str(path), "num": len(chosen), "of": len(vectors), "how": how}


def _rows(vectors: Vectors, chosen: Sequence[int], key: str) -> Iterator[dict[str, Any]]:
    for i in chosen:
        name = os.path.abspath(vectors.path(i)) if key == "path" else vectors.name(i)
        yield {key: name, "label": vectors.label(i)}
