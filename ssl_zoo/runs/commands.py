"""Commands for a user to type, as messages print them, quoted for a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

imported: list[str] = []
"""The modules of `--import`, which another command about the same run needs too."""


def command(*words: str | Path) -> str:
    """Return an `ssl-zoo` command of some words, with the `--import` options of this process."""
    imports = [word for module in imported for word in ("--import", module)]
    return shlex.join(["ssl-zoo", *map(str, words), *imports])


def resume(run: str | Path, *options: str) -> str:
    """Return the command that resumes a run."""
    return command("train", run, "--resume", *options)
