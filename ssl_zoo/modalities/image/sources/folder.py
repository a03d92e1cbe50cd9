"""A folder of images, of any depth, with or without labels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from ssl_zoo.data.source import BadSample
from ssl_zoo.data.tree import Labels, Listing, arrange
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.decode import EXTENSIONS, check_channels, decode
from ssl_zoo.registry import register


@register("source", "folder")
class Folder:
    """Images in a folder, of any depth; sub-folders `train` and `test` (or `val`) are its splits.

    Labelled if each image lies in a first-level folder, its class, and there are at least two; else unlabelled.

    Args:
        channels: 1 (grey) or 3 (RGB); images are converted.
        path: the folder.
        labels: `auto` as above; `folder` insists on labels, `none` leaves them out.

    Raises:
        UserError: no such folder, or no image in it.
    """

    def __init__(self, channels: int, *, path: str, labels: Labels = "auto") -> None:
        check_channels(channels)
        self._root = Path(path).expanduser()
        if not self._root.exists():
            raise UserError(f"the data path {path} does not exist.")
        if not self._root.is_dir():
            raise UserError(f"the data path {path} is a file, not a folder of images.")
        self._channels = channels
        self._listings = arrange(_files(self._root), extensions=EXTENSIONS, labels=labels, where=f"the folder {path}")
        self.splits = tuple(self._listings)

    @staticmethod
    def matches(path: Path) -> bool:
        """Return whether `path` is a folder, and not one of parquet files."""
        return path.is_dir() and not any(path.glob("*.parquet"))

    def split(self, name: str) -> FolderSplit:
        """Return the split of that name."""
        return FolderSplit(self._root, self._listings[name], self._channels)


class FolderSplit:
    """Image files, read one by one; see `ssl_zoo.data.Split`."""

    def __init__(self, root: Path, listing: Listing, channels: int) -> None:
        self.labels, self.class_names, self.names = listing.labels, listing.class_names, listing.paths
        self._root, self._paths, self._channels = root, listing.paths, channels

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, i: int) -> Tensor:
        """Return image `i`, uint8 `(C, H, W)`."""
        name = self.name(i)
        try:
            data = Path(name).read_bytes()
        except OSError as error:
            raise BadSample(name, error.strerror or str(error)) from error
        return decode(data, self._channels, name)

    def name(self, i: int) -> str:
        """Return the path of image `i`."""
        return str(self._root / self._paths[i])


def _files(root: Path) -> Iterator[str]:
    """Yield the files below `root`, relative to it. Links to folders are followed, but no folder is entered twice."""

    def fail(error: OSError) -> None:
        raise UserError(f"cannot list the folder {error.filename}: {error.strerror}.")

    entered = {_identity(str(root))}
    for folder, below, files in os.walk(root, followlinks=True, onerror=fail):
        relative = Path(folder).relative_to(root)
        for file in files:
            yield (relative / file).as_posix()
        fresh = []
        for name in sorted(below):
            identity = _identity(os.path.join(folder, name))
            if identity not in entered:
                entered.add(identity)
                fresh.append(name)
        below[:] = fresh


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
