"""The files below a folder, found with one look at each."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from ssl_zoo.data.layout.left_out import files, set_aside, some
from ssl_zoo.errors import UserError, shown_name

MOST_WAYS = 1000
"""Largest number of ways to one folder: the number of ways through folders of links to each other has no bound."""

Identity = tuple[int, int]


class Walk:
    """Iterates over the regular files below a folder, as paths relative to it, with `/` between folders.

    Links are followed; a folder that would contain itself is not entered. Hidden folders and the system's own are not
    entered either, and are given as a path that ends in `/`. A link that leads nowhere is given if it ends as wanted,
    so that reading it reports the fault. What is neither file nor folder (a pipe, a device) is left out: to open it
    may block for ever.

    Args:
        root: the folder.
        extensions: how the files that matter end, lower case, with the dot.

    Raises:
        UserError: a folder cannot be listed, or is reached over more than `MOST_WAYS` links.
    """

    def __init__(self, root: Path, extensions: Collection[str]) -> None:
        self._root, self._extensions = str(root), extensions
        self._reached: dict[Identity, list[str]] = {}  # the first two ways, and how many there are
        self._ways: Counter[Identity] = Counter()
        self._specials: Counter[str] = Counter()
        self._nowhere: list[str] = []
        self._loops: list[str] = []
        self._special = ""

    def __iter__(self) -> Iterator[str]:
        """Yield the paths; only then do the notes know."""
        todo: list[tuple[str, str, tuple[Identity, ...]]] = [(self._root, "", ())]
        while todo:
            folder, relative, above = todo.pop()
            identity = self._enter(folder, relative)
            if identity in above:
                self._loops.append(relative.rstrip("/"))
                continue
            self._count(identity, relative.rstrip("/"))
            below = []
            for entry in self._list(folder):
                name = relative + entry.name
                kind = _kind(entry)
                if kind == "file" or (kind == "link" and self._wanted(entry.name)):
                    yield name
                elif kind == "folder" and set_aside(entry.name):
                    yield name + "/"
                elif kind == "folder":
                    below.append((entry.path, name + "/", (*above, identity)))
                elif kind == "link":
                    self._nowhere.append(name)
                else:
                    self._specials[kind] += 1
                    self._special = self._special or name
            todo += below

    def _wanted(self, name: str) -> bool:
        return os.path.splitext(name)[1].lower() in self._extensions

    def _list(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                yield from entries
        except OSError as error:
            raise _cannot_list(folder, error) from error

    def _enter(self, folder: str, relative: str) -> Identity:
        try:
            status = os.stat(folder)
        except OSError as error:
            raise _cannot_list(folder, error) from error
        return status.st_dev, status.st_ino

    def _count(self, identity: Identity, relative: str) -> None:
        self._ways[identity] += 1
        ways = self._reached.setdefault(identity, [])
        if len(ways) < 2:
            ways.append(relative or ".")
        if self._ways[identity] > MOST_WAYS:
            raise UserError(
                f"the folder {self._root}: links lead to {ways[0]} in more than {MOST_WAYS} ways, for example "
                f"{ways[1]}; remove links, or name a folder without them."
            )

    def notes(self, where: str) -> Iterator[str]:
        """Yield a sentence for each kind of link or file that the user may not expect."""
        twice = [ways for ways in self._reached.values() if len(ways) > 1]
        if twice:
            first, second = sorted(min(twice))
            yield (
                f"{where}: by links, {files(len(twice), 'folder')} {'is' if len(twice) == 1 else 'are'} in it more "
                f"than once, and so are the files; for example {shown_name(first)} is {shown_name(second)}."
            )
        if self._loops:
            yield f"{where}: left out are links to a folder that they lie in: {_some(self._loops)}."
        if self._nowhere:
            yield f"{where}: left out are links that lead nowhere: {_some(self._nowhere)}."
        if self._specials:
            yield (
                f"{where}: left out is what is no regular file: {some(self._specials)}; "
                f"for example {shown_name(self._special)}."
            )


def _kind(entry: os.DirEntry[str]) -> str:
    """Return `file`, `folder`, `link` (one that leads nowhere), or the name of something else."""
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
        mode = entry.stat().st_mode
    except OSError:  # nowhere, in a circle, or where we may not look
        return "link"
    for test, name in ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket")):
        if test(mode):
            return name
    return "device"


def _cannot_list(folder: str, error: OSError) -> UserError:
    reason = "the path is too long" if error.errno == errno.ENAMETOOLONG else error.strerror
    return UserError(f"cannot list the folder {folder}: {reason}.")


def _some(names: list[str]) -> str:
    return f"{len(names)}, for example {shown_name(min(names))}"
