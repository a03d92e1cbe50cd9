"""A zip archive of a folder of images, read without unpacking it."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_zoo.data.files import check_size
from ssl_zoo.data.source import BadSample
from ssl_zoo.data.tree import Labels, Listing, arrange
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.image.decode import EXTENSIONS, MAX_PIXELS, Decoding, MaxPixels
from ssl_zoo.modalities.image.stored import ValueRange
from ssl_zoo.registry import register

_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What Python unpacks piece by piece. A few bytes of bzip2 become gigabytes at once."""


@register("source", "zip")
class Zip:
    """Images in a zip archive; splits and labels by the same rules as `folder`.

    Args:
        channels: 1 (grey) or 3 (RGB); images are converted.
        path: the archive.
        labels: as in `folder`.
        value_range: as in `folder`.
        max_pixels: as in `folder`.

    Raises:
        UserError: no such archive, or no image in it.
    """

    def __init__(
        self,
        channels: int,
        *,
        path: str,
        labels: Labels = "auto",
        value_range: ValueRange | None = None,
        max_pixels: MaxPixels = MAX_PIXELS,
    ) -> None:
        self._decoding = Decoding(channels, value_range, max_pixels)
        self._path = Path(path).expanduser()
        if not self._path.exists():
            raise UserError(f"the data path {path} does not exist.")
        try:
            with zipfile.ZipFile(self._path) as archive:
                members = [info.filename for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"cannot open {path} as a zip archive: {error}.") from error
        self._listings = arrange(members, extensions=EXTENSIONS, labels=labels, where=f"the archive {path}")
        self.splits = tuple(self._listings)

    @staticmethod
    def matches(path: Path) -> bool:
        """Return whether `path` is a file named `*.zip`."""
        return path.is_file() and path.suffix.lower() == ".zip"

    def split(self, name: str) -> ZipSplit:
        """Return the split of that name."""
        return ZipSplit(self._path, self._listings[name], self._decoding)


class ZipSplit:
    """Members of an archive, read one by one; see `ssl_zoo.data.Split`."""

    def __init__(self, path: Path, listing: Listing, decoding: Decoding) -> None:
        self.labels, self.class_names = listing.labels, listing.class_names
        self._path, self._members, self._decoding = path, listing.paths, decoding
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def read(self, i: int) -> Tensor:
        """Return image `i`, uint8 `(C, H, W)`."""
        return self._decoding.decode(self._unpacked(i), self.name(i))

    def remarks(self, i: int) -> tuple[str, ...]:
        """Return what a user should know of how image `i` is understood."""
        return self._decoding.remarks(self._unpacked(i), self.name(i))

    def _unpacked(self, i: int) -> io.BytesIO:
        """Return member `i`. No more is unpacked than its header says, and that is checked before."""
        name, data = self.name(i), io.BytesIO()
        try:
            info = self._archive().getinfo(self._members[i])
            check_size(info.file_size, name, self._decoding.max_bytes)
            if info.compress_type not in _BOUNDED:
                raise BadSample(name, "packed by another method than deflate; pack the archive with that")
            with self._archive().open(info) as member:
                shutil.copyfileobj(member, data, 2**20)
        except BadSample:
            raise
        except Exception as error:  # a damaged member: BadZipFile, zlib.error, OSError, NotImplementedError, ...
            raise BadSample(name, f"damaged in the archive ({error})") from error
        data.seek(0)
        return data

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
