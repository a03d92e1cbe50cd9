"""Identity of a split, by which a resumed run checks that it has the data that it was started with.

The order in which samples are seen is a permutation of their positions, so one more or less changes all that follows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_zoo.data.contents import Contents
from ssl_zoo.data.source import Split
from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError, shown_name


def identity(split: Split, contents: Contents | None = None) -> dict[str, Any]:
    """Return what distinguishes a split: its number of `samples`, and digests of its `names` and `labels`.

    Names count without what they all begin with, so that a folder that was moved is the same. With `contents`, sizes
    and some samples count as well. A `fingerprint` that the split has takes the place of the names.
    """
    labels = None if split.labels is None else hashlib.sha256(split.labels.cpu().numpy().tobytes()).hexdigest()
    names = _digest(_names(split)) if split.fingerprint is None else None
    found = {"samples": len(split), "names": names, "labels": labels}
    if split.fingerprint is not None:
        found["fingerprint"] = split.fingerprint
    return found if contents is None else {**found, "contents": contents.plain()}


def _names(split: Split) -> list[bytes]:
    if isinstance(split.names, Strings):  # a million calls of `name` take many seconds
        return split.names.encoded()
    return [split.name(i).encode("utf-8", "surrogateescape") for i in range(len(split))]


def _digest(names: list[bytes]) -> str:
    prefix = len(os.path.commonprefix([min(names), max(names)])) if names else 0
    return hashlib.sha256(b"\0".join([name[prefix:] for name in names])).hexdigest()


@dataclass(frozen=True, eq=False)
class Before:
    """The names and sizes of the samples that a run was started with, see `Contents`, to say what has changed."""

    names: np.ndarray
    sizes: np.ndarray


def check_identity(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    run: str,
    before: Before | None = None,
    contents: Contents | None = None,
) -> None:
    """Make sure that a run is resumed with the data that it was started with.

    Args:
        then: the identity of the data that it was started with.
        now: of those that are there now.
        run: what the message calls it.
        before: names and sizes of the samples then, where they are known, for what the message says.
        contents: of the samples now.

    Raises:
        UserError: they differ.
    """
    what = difference(then, now, before, contents)
    if what:
        raise UserError(
            f"--resume: {run} {what}; give the same data (--data PATH where they have moved), start another run "
            "(--init-from takes its weights), or go on with these by --allow-changed-data."
        )


def difference(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    before: Before | None = None,
    contents: Contents | None = None,
) -> str:
    """Return how data differ from those that a run was started with, as `was started with ...`; empty if they do not.

    What the identity of an older run lacks is not compared. For the arguments see `check_identity`.
    """
    old, new = then.get("contents"), now.get("contents")
    counted = "" if before is None or contents is None else _counted(before, contents)
    details = f": {counted}" if counted else ""
    if then["samples"] != now["samples"]:
        return (
            f"was started with {then['samples']} samples to train on, and the data now have {now['samples']}{details}"
        )
    if then["names"] != now["names"]:
        return f"was started with other names of its samples{details}"
    if then["labels"] != now["labels"]:
        return "was started with other labels of its samples"
    if then.get("fingerprint") != now.get("fingerprint"):
        return "was started with other contents of its samples"
    if old is None or new is None:
        return ""
    if old["sizes"] is not None and new["sizes"] is not None and old["sizes"] != new["sizes"]:
        return f"was started with other contents of its samples{details}"
    changed = [i for i, each in enumerate(old["digests"]) if i < len(new["digests"]) and new["digests"][i] != each]
    if not changed:
        return ""
    example = "" if contents is None else f", for example {shown_name(contents.name(contents.probed[changed[0]]))}"
    return (
        f"was started with other contents of its samples: {len(changed)} of the {len(old['digests'])} that were read "
        f"to compare them{example}"
    )


def _counted(before: Before, contents: Contents) -> str:
    """Return how many samples are new, gone or of another size, with an example where there is one."""
    place = {name: i for i, name in enumerate(before.names.tolist())}
    more: list[int] = []
    other: list[int] = []
    kept = 0
    for i, (name, size) in enumerate(zip(contents.names.tolist(), contents.sizes.tolist(), strict=True)):
        was = place.get(name)
        if was is None:
            more.append(i)
            continue
        kept += 1
        if size >= 0 and before.sizes[was] >= 0 and size != before.sizes[was]:
            other.append(i)
    found = []
    for some, what in ((more, "new"), (other, "of another size")):
        if some:
            found.append(f"{len(some)} {what}, for example {shown_name(contents.name(some[0]))}")
    if len(place) > kept:
        found.append(f"{len(place) - kept} gone")
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
