"""What a form of an exported encoder has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.runs.encoder_files import WEIGHTS
from ssl_zoo.runs.export.subject import Subject

Forward = Callable[[Tensor], Tensor]


class Target(ABC):
    """A form of an exported encoder.

    Attributes:
        name: what `--to` calls it.
        file: the name of its file in a folder; its ending is that of a file alone.
        tolerance: largest difference of the features that is allowed.
        library: as hubs call it.
        kept_by_load_encoder: whether `load_encoder` reads its folder.
    """

    name: ClassVar[str]
    file: ClassVar[str] = WEIGHTS
    tolerance: ClassVar[float] = 1e-5
    library: ClassVar[str]
    kept_by_load_encoder: ClassVar[bool] = True

    def check(self, subject: Subject, with_preprocessing: bool) -> None:
        """Make sure that an encoder can be exported so, before anything is written.

        Raises:
            UserError: it cannot, or a package is missing.
        """
        if with_preprocessing:
            raise UserError(f"--with-preprocessing: {self.file} holds weights alone; --to onnx has room for it.")
        if subject.is_whole:
            members = ", ".join(getattr(subject.module, "members", ()))
            raise UserError(
                f"--to {self.name}: the run has an encoder for each member; name one with --member ({members}), or use "
                "--to safetensors, which holds them all."
            )

    @abstractmethod
    def write(self, subject: Subject, folder: Path, with_preprocessing: bool) -> None:
        """Write the files into a folder."""

    @abstractmethod
    def read(self, subject: Subject, folder: Path) -> Forward:
        """Return what the library makes of the files: plain samples `(B, ...)` -> h `(B, D)`."""

    @abstractmethod
    def lines(self, subject: Subject, file: str) -> list[str]:
        """Return lines of Python that load a file; where `file` is a path of a folder's, that folder."""
