"""Any source as shards: `ssl-zoo data shard`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.contents import contents_of
from ssl_zoo.data.identity import identity
from ssl_zoo.data.layout.shard_index import NAME, NAMES, index_text
from ssl_zoo.data.open import split_of
from ssl_zoo.data.paired import PairedModality
from ssl_zoo.data.source import Modality, Split
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.split_shards import LOG, Layout, SplitShards, stored_as
from ssl_zoo.recipe.resolve import CHANNELS, open_encoded
from ssl_zoo.runs import lock
from ssl_zoo.runs.atomic import check_place, write_atomically, writing

STATE = "state.json"

SAMPLE = "sample"
"""The column of samples whose modality names none."""


def shard_data(
    source: str,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    modality: str | None = None,
    channels: int = CHANNELS,
    layout: Layout | None = None,
) -> dict[str, Any]:
    """Write the samples of any source into shards, which the source `shards` reads.

    Files and texts are written as they are stored, tensors as arrays; of samples that are mappings, each member.

    An interrupted one goes on with the same call, from the last shard that was whole, and gives the same files. The
    folder takes its name when all is written; until then it is `OUT.part`.

    Args:
        source: a folder, an archive, a table, an address, or the name of a registered source.
        out: the folder of the shards, which must not exist.
        overrides: KEY=VALUE on `data.source` and `data.decode`.
        modality: of the samples, see `open_encoded`; None takes the one of the source, or the only one that reads
            files.
        channels: see `open_encoded`.
        layout: how they are written.

    Returns:
        `out`; `splits`, for each `samples`, `shards`, `row_groups` and `bytes`; `left_out`, `{name: reason}` of the
        samples that could not be read; and `notes` of the source.

    Raises:
        UserError: `out` exists, an interrupted one is of something else, the source cannot be opened or has samples
            that are no files, texts or tensors, or a sample cannot be read.
        CannotWrite: the disk is full.
    """
    layout, path = layout or Layout(), Path(out)
    if path.exists():
        raise UserError(f"--out {out}: exists; name a new folder, or remove it.")
    check_place(path, "--out", folder=True)
    opened, kind = open_encoded(source, overrides, modality, channels)
    splits = {name: split_of(opened, name) for name in opened.splits}
    columns = _columns(splits["train"], kind, source)
    part = path.with_name(path.name + ".part")
    with writing(part):
        part.mkdir(parents=True, exist_ok=True)
    held = lock.take(part, lambda line: None)
    try:
        found = _write(part, path, source, splits, kind, columns, layout)
    finally:
        held.release()
    _finish(part, path)
    return {"out": str(path), **found, "notes": list(opened.notes)}


def _write(
    part: Path,
    out: Path,
    source: str,
    splits: Mapping[str, Split],
    kind: Modality,
    columns: Mapping[str, str],
    layout: Layout,
) -> dict[str, Any]:
    each = kind.members if isinstance(kind, PairedModality) else {}
    members = {member: of.spec.modality for member, of in each.items()} or None
    of = {name: identity(split, contents_of(split)) for name, split in splits.items()}
    state = {"layout": asdict(layout), "modality": kind.spec.modality, "kind": dict(columns), "source": of}
    _begin(part, out, json.loads(json.dumps(state)))
    written: dict[str, Any] = {}
    report: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name, split in splits.items():
        shards = SplitShards(part, name, split, columns, members is not None, layout)
        done = list(shards.write())
        left_out |= {each: reason for log in done for _, each, reason in log["left_out"]}
        listed = [log["shard"] for log in done if log["shard"]["rows"]]
        for log in done:
            if not log["shard"]["rows"]:  # all of its samples are left out
                (part / log["shard"]["file"]).unlink(missing_ok=True)
        if not listed:
            raise UserError(f"{source}: no sample of the split {name} can be read, {_example(left_out)}.")
        samples = sum(each["rows"] for each in listed)
        written[name] = {"samples": samples, "labels": shards.write_labels(done), "shards": listed}
        report[name] = {
            "samples": samples, "shards": len(listed), "row_groups": sum(len(each["groups"]) for each in listed),
            "bytes": sum(each["bytes"] for each in listed),
        }  # fmt: skip
    text = index_text(
        modality=kind.spec.modality, columns=columns, members=members, classes=splits["train"].class_names,
        splits=written, left_out=len(left_out), written={"source": of, "layout": asdict(layout)},
    )  # fmt: skip
    write_atomically(part / NAME, text)
    return {"splits": report, "left_out": left_out}


def _example(left_out: Mapping[str, str]) -> str:
    name, reason = next(iter(left_out.items()))
    return f"for example {name}: {reason}"


def _columns(split: Split, kind: Modality, source: str) -> dict[str, str]:
    """Return the columns of the samples of a split and what they are stored as, see `stored_as`.

    Raises:
        UserError: they cannot be stored, or none of the first can be read.
    """
    reason = "there is none"
    for i in range(min(len(split), 20)):
        try:
            sample = split.read(i)
        except BadSample as error:
            reason = str(error).rstrip(".")
            continue
        if not isinstance(kind, PairedModality):
            return {kind.columns[0] if kind.columns else SAMPLE: stored_as(sample, source)}
        for member in set(kind.members) & {NAMES, "label"}:
            raise UserError(f"{source}: a member called {member!r} has no column in shards; give it another name.")
        return {member: stored_as(sample[member], source) for member in kind.members}
    raise UserError(f"{source}: none of its first samples can be read, for example {reason}.")


def _begin(part: Path, out: Path, state: dict[str, Any]) -> None:
    """Find the folder of an interrupted call, or begin one.

    Raises:
        UserError: it is of another source or layout.
    """
    path = part / STATE
    if not path.is_file():
        strange = [each.name for each in part.iterdir() if each.name not in (lock.NAME, STATE + ".partial")]
        if strange:
            raise UserError(f"{part}: holds files that `data shard` has not written ({strange[0][:80]}); move it away.")
        write_atomically(path, json.dumps(state) + "\n")
        return
    try:
        before = json.loads(path.read_bytes()[: 2**22])
    except ValueError:
        before = None
    if before != state:
        what = next((key for key in state if not isinstance(before, dict) or before.get(key) != state[key]), "state")
        raise UserError(
            f"{part}: is what an interrupted `data shard` with another {what} left; give the same command, remove the "
            f"folder to begin anew, or name another --out than {out}."
        )


def _finish(part: Path, out: Path) -> None:
    with writing(out):
        for each in [part / STATE, *part.glob(f"*{LOG}")]:
            each.unlink()
        os.rename(part, out)
