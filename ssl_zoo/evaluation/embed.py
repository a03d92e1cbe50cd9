"""The embeddings of samples as a file: what an encoder is used for outside this package."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ssl_zoo.data.bad_samples import BadData
from ssl_zoo.distributed import collectives
from ssl_zoo.distributed.launch import Processes, count_processes, is_to_start, launch, start
from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.evaluation.encoding import Encoding, OpenRun, open_run, pieces
from ssl_zoo.evaluation.feature_files import WRITERS, Chunk, Columns, sidecars
from ssl_zoo.evaluation.feature_parts import Part, Parts
from ssl_zoo.hardware import choose
from ssl_zoo.runs import lock
from ssl_zoo.runs.at_step import encoder_folder
from ssl_zoo.runs.atomic import check_place, write_atomically

Log = Callable[[str], None]


def embed(
    run: str | Path,
    out: str | Path,
    *,
    data: Any = None,
    overrides: Sequence[str] = (),
    devices: int | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Write the embeddings h of samples by a run's encoder, without augmentation, into a file.

    Samples are read and encoded piece by piece, and the file may be larger than the memory. What is done lies in the
    folder OUT.parts until all is done: a call with the same arguments goes on where an interrupted one has stopped,
    and the file is the same, bit for bit, as that of one that was not interrupted.

    A parquet file has a row for each sample: `name`, `split`, `label` and `class` where there are any, and `vector`; of
    samples that are mappings, one `vector_MEMBER` for each. An npz file has the same as arrays, with -1 for no label
    and the names of the classes once. An npy file is the vectors alone, float32 `(N, D)`, for a memory map;
    FEATURES.csv beside it has the other columns, and FEATURES.json what the vectors are of. Each file states the
    checksum of its encoder, the settings of the views and the identity of the samples. Where the view policy looks at a
    sample several times, its vector is the mean.

    Args:
        run: a run folder, or a checkpoint of one, such as `RUN@step500`; see `load_encoder`.
        out: FEATURES.parquet, .npz or .npy; the names of samples that could not be read, which `data.on_error=skip`
            allows, go into FEATURES.bad_files.txt beside it.
        data: other data than the run's: a place or a Python data set, see `ssl_zoo.data.given.take`.
        overrides: dotted keys on the run's recipe, such as `data.on_error=skip`.
        devices: processes that each encode a share, one per device; the rows and their order stay the same. None takes
            one, or those of torchrun.
        log: prints a line for the user.

    Returns:
        `out`, `num` (samples), `dims` (`{column: D}`), `bad` (`{name: reason}`) and `not_finite`, the number of samples
        whose vector has a nan or an inf. In processes other than the main one, it is empty.

    Raises:
        UserError: another ending of `out`, a file that is there already, no such run or data, an encoder that does not
            take the samples, samples that cannot be read, or a folder OUT.parts of another encoder or other samples.
        CannotWrite: the disk is full.
    """
    path = Path(out)
    write = WRITERS.get(path.suffix)
    if write is None:
        raise UserError(f"--out {path}: name a file that ends in {', '.join(WRITERS)}.")
    check_new(path, "--out", *(sidecars(path) if path.suffix == ".npy" else ()))
    check_place(path, "--out")
    size = count_processes(devices, choose(for_training=False))
    if is_to_start(size):
        start(size, 0, log)
    opened = open_run(encoder_folder(run, log), data, overrides)
    if path.suffix == ".npy" and len(opened.dims) > 1:
        raise UserError(f"--out {path}: has room for one vector of each sample; name a .parquet or an .npz file.")
    processes = launch(opened.hardware, size)
    with processes.fail_together():
        parts = _computed(path, opened, processes, log)
        if not processes.is_main:
            return {}
        found = _Rows(opened, parts)
        columns = _columns(opened, found.count())
        write(path, found.chunks, columns)
        parts.remove()
    _list_bad(path, found.bad, log)
    if found.not_finite:
        log(f"the vectors of {found.not_finite} samples are not finite (nan or inf)")
    return {
        "out": str(path), "num": columns.num, "not_finite": found.not_finite, "dims": dict(columns.dims),
        "bad": found.bad,
    }  # fmt: skip


def check_new(path: Path, option: str, *beside: Path) -> None:
    """Make sure that a file which is to be written does not exist.

    Args:
        path: of the file.
        option: the command-line option that named it, for messages.
        beside: files that are written beside it.

    Raises:
        UserError: it does, or one of those beside it.
    """
    for each in (path, *beside):
        if each.exists():
            raise UserError(f"{option} {path}: {each} exists and is not replaced; remove it, or name another file.")


def _computed(path: Path, opened: OpenRun, processes: Processes, log: Log) -> Parts:
    """Compute the parts that are not there yet: each process every k-th of them."""
    todo = pieces(opened)
    state = {**opened.about(), "precision": opened.hardware.precision, "device": opened.hardware.accelerator,
             "dims": opened.dims, "pieces": [list(piece) for piece in todo]}  # fmt: skip
    parts = Parts(path, state, len(todo), opened.dims)
    held = None
    if processes.is_main:
        done = parts.begin()
        held = lock.take(parts.folder, log)
        if done:
            log(f"{parts.folder}: {done} of {len(todo)} parts are there from an interrupted run, which goes on")
    processes.any(False)  # the folder is there
    try:
        _fill(parts, opened, processes)
        processes.any(False)  # all parts are
    except UserError:
        if processes.is_main and not any(map(parts.has, range(len(todo)))):
            parts.remove()  # nothing to go on from
        raise
    finally:
        if held is not None:
            held.release()
    return parts


def _fill(parts: Parts, opened: OpenRun, processes: Processes) -> None:
    rank, todo = collectives.rank(), pieces(opened)
    total = sum(piece.stop - piece.start for piece in todo)
    quiet = not processes.is_main or not sys.stderr.isatty()
    with Encoding(opened, processes.device) as encoding, tqdm(
        total=total, unit="sample", disable=quiet, leave=False
    ) as bar:  # fmt: skip
        for i, piece in enumerate(todo):
            if parts.has(i):
                if processes.size == 1:
                    encoding.add_bad(piece.split, parts.read(i).bad)
            elif i % processes.size == rank:
                parts.write(i, Part(*encoding.encode(piece)))
            bar.update(piece.stop - piece.start)


class _Rows:
    """The rows of a file, made of its parts.

    Args:
        opened: the run and the samples.
        parts: all of them.

    Attributes:
        bad: `{name: reason}` of the samples that could not be read.
        not_finite: how many vectors have a nan or an inf.
    """

    def __init__(self, opened: OpenRun, parts: Parts) -> None:
        self._opened, self._parts = opened, parts
        self._pieces = pieces(opened)
        self.bad = dict(opened.data.bad)
        self.not_finite = 0

    def count(self) -> int:
        """Return the number of rows, and note what could not be read.

        Raises:
            BadData: more samples could not be read than are allowed.
        """
        import numpy as np

        num, encoding = 0, Encoding(self._opened)
        for piece, part in zip(self._pieces, self._parts.all(), strict=True):
            if part.bad:
                encoding.add_bad(piece.split, part.bad)
            self.bad |= part.bad
            finite = np.ones(len(part.index), dtype=bool)
            for x in part.vectors.values():
                finite &= np.isfinite(x).all(axis=1)
            num += len(finite)
            self.not_finite += int((~finite).sum())
        if not num:
            raise BadData(f"none of the samples could be read ({len(self.bad)} are bad); name other data with --data.")
        return num

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows, in the order of the splits."""
        for piece, part in zip(self._pieces, self._parts.all(), strict=True):
            split = self._opened.splits[piece.split]
            labels = [-1] * len(part.index) if split.labels is None else split.labels[part.index].tolist()
            yield Chunk([shown_name(split.name(i)) for i in part.index], piece.split, labels, part.vectors)


def _list_bad(path: Path, bad: dict[str, str], log: Log) -> None:
    listed = path.with_suffix(".bad_files.txt")
    if bad:
        write_atomically(listed, "".join(f"{shown_name(name)}\t{shown_name(why)}\n" for name, why in bad.items()))
        log(f"{len(bad)} samples cannot be read and are left out; {listed} has their names")
    else:
        listed.unlink(missing_ok=True)  # of a file that was here before


def _columns(opened: OpenRun, num: int) -> Columns:
    labelled = [split for split in opened.splits.values() if split.labels is not None]
    classes = labelled[0].class_names if labelled else None
    return Columns(opened.dims, bool(labelled), classes, json.dumps(opened.about()), num)
