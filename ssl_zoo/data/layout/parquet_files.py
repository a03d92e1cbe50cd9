"""Parquet files below a folder, and the splits that their names mean."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ssl_zoo.data.layout.left_out import files as files_of
from ssl_zoo.data.layout.left_out import set_aside
from ssl_zoo.data.layout.split_names import Splits, role_of
from ssl_zoo.errors import UserError, shown_name

PARQUET = ".parquet"

DEPTH = 3
"""So deep lie the files of data sets: `CONFIGURATION/SPLIT/0000.parquet` is how the Hugging Face hub converts them."""


def below(root: Path, ending: str = PARQUET) -> Iterator[tuple[str, bool]]:
    """Yield the files down to `DEPTH`, the upper ones first, as paths relative to `root`, and whether each ends so.

    Hidden folders are left out. A folder that cannot be listed is taken for empty.
    """
    level = [(str(root), "")]
    for _ in range(DEPTH):
        deeper = []
        for folder, relative in level:
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if set_aside(entry.name):
                            continue
                        if entry.is_file():
                            yield relative + entry.name, entry.name.lower().endswith(ending)
                        elif entry.is_dir():
                            deeper.append((entry.path, f"{relative}{entry.name}/"))
            except OSError:
                continue
        level = sorted(deeper)


def find(root: Path, splits: Splits, ending: str = PARQUET) -> tuple[dict[str, list[str]], list[str]]:
    """Return the files of each split, `train` first, relative to `root`, and sentences about how they were understood.

    Args:
        root: a folder.
        splits: `auto` by the names of files and folders; `none` takes all files for `train`; or for each split the
            names of files or folders, `*` for anything.
        ending: of the files that matter.

    Raises:
        UserError: no file, no `train`, files of several data sets, or named files that are not there.
    """
    kind = ending.removeprefix(".")
    every = sorted(path for path, fits in below(root, ending) if fits)
    where = f"the folder {root}"
    if not every:
        raise UserError(f"{where} has no *{ending} file in it.")
    if isinstance(splits, dict):
        return _asked(every, splits, where, kind), []
    roles = {path: role for path in every if splits == "auto" and (role := _role(path, ending)) is not None}
    if not roles:
        places = sorted({path.rpartition("/")[0] for path in every})
        if len(places) == 1:
            return {"train": every}, []
        return {"train": every}, [f"{where}: all {len(every)} {kind} files, in {len(places)} folders, are for train."]
    places = sorted({place for _, place in roles.values()})
    if len(places) > 1:
        shown = " and ".join(f"{place or '.'}/" for place in places[:5])
        raise UserError(f"{where} has the {kind} files of several data sets, in {shown}; give one of these folders.")
    files: dict[str, list[str]] = {}
    for name in ("train", "test", "val"):
        if found := [path for path in every if path in roles and roles[path][0] == name]:
            files[name] = found
    if "train" not in files:
        raise UserError(f"{where} has {next(iter(roles))} but no train*{ending}.")
    notes = []
    outside = [path for path in every if path not in roles or roles[path][0] == "spare"]
    if outside:
        notes.append(f"{where}: {files_of(len(outside), f'{kind} file')} in no split, not used; for example "
                     f"{shown_name(outside[0])}.")  # fmt: skip
    if "test" in files and "val" in files:
        notes.append(f"{where}: the val split is not used, since there is a test split.")
    elif "val" in files:
        files["test"] = files.pop("val")
        notes.append(f"{where}: there is no test split, so val is used for it.")
    return files, notes


def _role(path: str, ending: str) -> tuple[str, str] | None:
    """Return the split that a file's name or the nearest folder's means, and the folder that the split lies in."""
    *folders, name = path.split("/")
    found = role_of(name.removesuffix(ending))
    while found is None and folders:
        found = role_of(folders.pop())
    return None if found is None else (found[0], "/".join(folders))


def _asked(
    every: Collection[str], splits: Mapping[Any, str | list[str]], where: str, kind: str
) -> dict[str, list[str]]:
    if "train" not in splits:
        raise UserError("data.source.splits names no file for train.")
    files: dict[str, list[str]] = {}
    for split in ("train", "test", "val"):
        names = splits.get(split, [])
        for name in [names] if isinstance(names, str) else names:
            wanted = name.strip("/")
            found = [path for path in every if fnmatchcase(path, wanted) or path.startswith(wanted + "/")]
            if not found:
                raise UserError(f"data.source.splits: {where} has no {kind} file {name!r}; it has {_few(every)}.")
            files[split] = sorted({*files.get(split, []), *found})
    double = set(files["train"]) & {path for split in ("test", "val") for path in files.get(split, [])}
    if double:
        raise UserError(f"data.source.splits: {min(double)} is named for train and for another split.")
    if "test" not in files and "val" in files:
        files["test"] = files.pop("val")
    return files


def _few(names: Collection[str]) -> str:
    """Return the first five of some names."""
    shown = ", ".join(sorted(names)[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
