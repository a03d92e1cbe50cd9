"""The files of a tree that are taken, and sentences about those that are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator

from ssl_zoo.errors import UserError, shown_name

ASIDE = frozenset(
    {
        "__macosx",  # archives from a Mac
        "@eadir",  # Synology: thumbnails, a folder per file
        "#recycle",
        "#snapshot",
        "@recycle",  # QNAP
        "@recently-snapshot",
        "$recycle.bin",  # Windows
        "system volume information",
        "lost+found",  # Linux, at the top of a disk
    }
)
"""Folders of the system's own, in lower case: thumbnails, what was deleted, what was lost."""

SHOWN = 8
"""Largest number of endings or folders that a sentence names."""


def set_aside(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or the system's own."""
    return name.startswith(".") or name.lower() in ASIDE


def files(num: int, what: str = "file") -> str:
    """Return `1 file`, `2 files`."""
    return f"{num} {what}{'' if num == 1 else 's'}"


def some(counts: Counter[str]) -> str:
    """Return `.avif (30), .heic (2)`, the most frequent first, then by name."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{shown_name(name)} ({num})" for name, num in ranked[:SHOWN])
    return listed + (f" and {len(ranked) - SHOWN} more" if len(ranked) > SHOWN else "")


class Sieve:
    """Takes the files whose names end as wanted and counts the others.

    Args:
        extensions: how the files to take end, lower case, with the dot.

    Attributes:
        taken: paths, in the order in which they came.
    """

    def __init__(self, extensions: Collection[str]) -> None:
        self.taken: list[str] = []
        self._extensions = extensions
        self._others: Counter[str] = Counter()
        self._other = self._hidden = ""
        self._num_hidden = 0
        self._folders: dict[str, str] = {}  # set aside: its path -> its name
        self._last, self._last_aside = "", False  # files come folder by folder

    def add(self, path: str) -> None:
        """Take a file or leave it out; a path that ends in `/` is a folder that was set aside unseen."""
        folder, _, name = path.rpartition("/")
        if folder != self._last:
            self._last, self._last_aside = folder, self._is_aside(folder)
        if self._last_aside or not name:
            return
        extension = os.path.splitext(name)[1].lower()
        if extension not in self._extensions:
            if not set_aside(name):
                self._others[extension or "no ending"] += 1
                self._other = self._other or path
        elif set_aside(name):
            self._num_hidden += 1
            self._hidden = self._hidden or path
        else:
            self.taken.append(path)

    def _is_aside(self, folder: str) -> bool:
        parts = folder.split("/")
        for depth, part in enumerate(parts):
            if set_aside(part):
                self._folders["/".join(parts[: depth + 1])] = part
                return True
        return False

    def require_some(self, where: str) -> None:
        """Make sure that there is something to read.

        Raises:
            UserError: there is not; the message names what is there instead.
        """
        if self.taken:
            return
        if not self._others:
            aside = "" if not self._folders and not self._hidden else ", but for hidden files and the system's own"
            raise UserError(f"{where} is empty{aside}: there is no file in it or below.")
        raise UserError(
            f"{where} has {files(self._others.total())} but none to read: their endings are "
            f"{some(self._others)}; those read are {', '.join(sorted(self._extensions))}."
        )

    def notes(self, where: str) -> Iterator[str]:
        """Yield a sentence for each kind of what was left out."""
        if self._others:
            num = self._others.total()
            yield (
                f"{where}: {files(num)} {'is' if num == 1 else 'are'} not used, by the ending: {some(self._others)}; "
                f"for example {shown_name(self._other)}."
            )
        if self._folders:
            names = Counter(self._folders.values())
            yield (
                f"{where}: folders of thumbnails, of deleted or of hidden files are left out: {some(names)}; "
                f"for example {shown_name(min(self._folders))}."
            )
        if self._num_hidden:
            yield (
                f"{where}: hidden files are left out although they end like the others: {self._num_hidden}, "
                f"for example {shown_name(self._hidden)}."
            )
