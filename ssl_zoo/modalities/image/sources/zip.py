"""A zip archive of a folder of images, read without unpacking it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_zoo.data.source import BadSample
from ssl_zoo.data.tree import Labels, Listing, arrange
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.decode import EXTENSIONS, check_channels, decode
from ssl_zoo.registry import register


@register("source", "zip")
class Zip:
    """Images in a zip archive; splits and labels by the same rules as `folder`.

    Args:
        channels: 1 (grey) or 3 (RGB); images are converted.
        path: the archive.
        labels: as in `folder`.

    Raises:
        UserError: no such archive, or no image in it.
    """

    def __init__(self, channels: int, *, path: str, labels: Labels = "auto") -> None:
        check_channels(channels)
        self._path = Path(path).expanduser()
        if not self._path.exists():
            raise UserError(f"the data path {path} does not exist.")
        try:
            with zipfile.ZipFile(self._path) as archive:
                members = [info.filename for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"cannot open {path} as a zip archive: {error}.") from error
        self._channels = channels
        self._listings = arrange(members, extensions=EXTENSIONS, labels=labels, where=f"the archive {path}")
        self.splits = tuple(self._listings)

    @staticmethod
    def matches(path: Path) -> bool:
        """Return whether `path` is a file named `*.zip`."""
        return path.is_file() and path.suffix.lower() == ".zip"

    def split(self, name: str) -> ZipSplit:
        """Return the split of that name."""
        return ZipSplit(self._path, self._listings[name], self._channels)


class ZipSplit:
    """Members of an archive, read one by one; see `ssl_zoo.data.Split`."""

    def __init__(self, path: Path, listing: Listing, channels: int) -> None:
        self.labels, self.class_names, self.names = listing.labels, listing.class_names, listing.paths
        self._path, self._members, self._channels = path, listing.paths, channels
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def read(self, i: int) -> Tensor:
        """Return image `i`, uint8 `(C, H, W)`."""
        try:
            data = self._archive().read(self._members[i])
        except Exception as error:  # a damaged member: BadZipFile, zlib.error, OSError, NotImplementedError, ...
            raise BadSample(self.name(i), f"damaged in the archive ({error})") from error
        return decode(data, self._channels, self.name(i))

    def name(self, i: int) -> str:
        """Return the archive and the member, such as `birds.zip/train/owl/1.png`."""
        return f"{self._path}/{self._members[i]}"

    def _archive(self) -> zipfile.ZipFile:
        # A forked worker shares the position in the file with its parent, so each process opens the archive itself.
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self._path)
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}
