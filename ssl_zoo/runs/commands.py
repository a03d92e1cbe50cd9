"""The commands that messages tell a user to type, quoted for a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

imported: list[str] = []
"""The modules that `--import` has named, which a command about the same run needs too."""


def command(*words: str | Path) -> str:
    """Return an `ssl-zoo` command of some words, with the `--import` of this one."""
    imports = [word for module in imported for word in ("--import", module)]
    return shlex.join(["ssl-zoo", *map(str, words), *imports])


def resume(run: str | Path, *options: str) -> str:
    """Return the command that goes on with a run."""
    return command("train", run, "--resume", *options)
