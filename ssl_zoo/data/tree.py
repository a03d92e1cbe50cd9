"""The files of a folder or an archive as splits, with labels where the folders are classes.

The rules, for paths below the root:
- hidden files and folders, and `__MACOSX`, are left out; a chain of single folders at the top is passed through;
- `train` together with `test` or `val`, or alone, are the splits; `val` stands in for `test` where there is none;
- files are labelled by the first folder below their split if each lies in one and there are at least two.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import torch
from torch import Tensor

from ssl_zoo.data.source import Strings
from ssl_zoo.errors import UserError

Labels = Literal["auto", "folder", "none"]

_SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}


@dataclass(frozen=True)
class Listing:
    """The files of one split.

    Attributes:
        paths: sorted, as they were given.
        labels: `(N,)` int64, or None.
        class_names: the folder of each label, sorted, the same for all splits; None without labels.
    """

    paths: Strings
    labels: Tensor | None
    class_names: list[str] | None


def arrange(paths: Iterable[str], *, extensions: Collection[str], labels: Labels, where: str) -> dict[str, Listing]:
    """Return the splits of a tree of files, `train` first.

    Args:
        paths: all files, relative to the root, with `/` between folders.
        extensions: how the files to take end, lower case, with the dot.
        labels: `auto` by the rules above; `folder` insists on labels, `none` refuses them.
        where: what the messages call the root.

    Raises:
        UserError: no file, none to take, no `train`, or labels that were insisted on and are not there.
    """
    groups = _groups(_wanted(paths, extensions, where), where)
    labelled = [name for name, files in groups.items() if labels != "none" and _has_classes(files)]
    if labels == "folder" and len(labelled) < len(groups):
        missing = next(name for name in groups if name not in labelled)
        raise UserError(
            f"labels: folder asks for one folder a class, but not every file of the {missing} split of {where} lies in "
            "one of at least two such folders; use labels: auto or none."
        )
    classes = sorted({folder for name in labelled for _, folder in groups[name]})
    number = {folder: label for label, folder in enumerate(classes)}
    listings = {}
    for name, files in groups.items():
        known = name in labelled
        listings[name] = Listing(
            Strings(path for path, _ in files),
            torch.tensor([number[folder] for _, folder in files]) if known else None,
            classes if known else None,
        )
    return listings


def _wanted(paths: Iterable[str], extensions: Collection[str], where: str) -> list[str]:
    """Return the files to take, sorted, each once."""
    visible = [path for path in paths if not any(p.startswith(".") or p == "__MACOSX" for p in path.split("/"))]
    wanted = sorted({path for path in visible if PurePosixPath(path).suffix.lower() in extensions})
    if wanted:
        return wanted
    if not visible:
        raise UserError(f"{where} is empty: there is no file in it or below.")
    seen = Counter(PurePosixPath(path).suffix.lower() or "none" for path in visible)
    shown = ", ".join(f"{extension} ({num})" for extension, num in seen.most_common(5))
    raise UserError(
        f"{where} has {len(visible)} files but none to read: their extensions are {shown}; "
        f"those read are {', '.join(sorted(extensions))}."
    )


def _top(path: str, root: str) -> str:
    """Return the first folder of a path below `root`, empty if the file lies in `root` itself."""
    folder, slash, _ = path[len(root) :].partition("/")
    return folder if slash else ""


def _groups(paths: list[str], where: str) -> dict[str, list[tuple[str, str]]]:
    """Return for each split its files, each with the first folder below the split."""
    root = ""
    while len(tops := {_top(path, root) for path in paths}) == 1 and not tops & {"", *_train(tops)}:
        root += tops.pop() + "/"
    found = {_SPLITS[top.lower()] for top in tops if top.lower() in _SPLITS}
    others = any(top.lower() not in _SPLITS for top in tops)
    if "train" not in found and found and not others:
        raise UserError(f"{where} has {' and '.join(f'{top}/' for top in sorted(tops))} but no files in train/.")
    if "train" not in found or (found == {"train"} and others):  # among others, `train` is a class like `bus`
        return {"train": [(path, _top(path, root)) for path in paths]}
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name in ("train", "test", "val") if name in found}
    outside = 0
    for path in paths:
        top = _top(path, root)
        name = _SPLITS.get(top.lower())
        if name is None:
            outside += 1
        else:
            groups[name].append((path, _top(path, f"{root}{top}/")))
    if outside:
        used = ", ".join(f"{name}/" for name in groups)
        warnings.warn(f"{where}: {outside} images outside {used} are not used", stacklevel=4)
    if "test" not in groups and "val" in groups:
        groups["test"] = groups.pop("val")
    return groups


def _train(tops: set[str]) -> set[str]:
    return {top for top in tops if top.lower() == "train"}


def _has_classes(files: list[tuple[str, str]]) -> bool:
    folders = {folder for _, folder in files}
    return "" not in folders and len(folders) >= 2
