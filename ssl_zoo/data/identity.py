"""Identity of a split, by which a resumed run checks that it has the data that it was started with.

The order in which samples are seen is a permutation of their positions, so one more or less changes all that follows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from ssl_zoo.data.source import Split
from ssl_zoo.data.strings import Strings
from ssl_zoo.errors import UserError


def identity(split: Split) -> dict[str, Any]:
    """Return what distinguishes a split: its number of `samples`, and digests of its `names` and `labels`.

    Names count without what they all begin with, so that a folder that was moved is the same.
    """
    labels = None if split.labels is None else hashlib.sha256(split.labels.cpu().numpy().tobytes()).hexdigest()
    return {"samples": len(split), "names": _digest(_names(split)), "labels": labels}


def _names(split: Split) -> list[bytes]:
    if isinstance(split.names, Strings):  # a million calls of `name` take many seconds
        return split.names.encoded()
    return [split.name(i).encode("utf-8", "surrogateescape") for i in range(len(split))]


def _digest(names: list[bytes]) -> str:
    prefix = len(os.path.commonprefix([min(names), max(names)])) if names else 0
    return hashlib.sha256(b"\0".join([name[prefix:] for name in names])).hexdigest()


def check_identity(then: Mapping[str, Any], now: Mapping[str, Any], run: str) -> None:
    """Make sure that a run is resumed with the data that it was started with.

    Args:
        then: the identity of the data that it was started with.
        now: of those that are there now.
        run: what the message calls it.

    Raises:
        UserError: they differ.
    """
    if then == now:
        return
    if then["samples"] != now["samples"]:
        what = f"was started with {then['samples']} samples to train on, and the data now have {now['samples']}"
    else:
        what = f"was started with other {'names' if then['names'] != now['names'] else 'labels'} of its samples"
    raise UserError(
        f"--resume: {run} {what}; give the same data (--data PATH where they have moved), or start another run "
        "(--init-from takes its weights)."
    )
