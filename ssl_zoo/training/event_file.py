"""The file that TensorBoard reads.

It is written here and now. TensorBoard's own writer leaves that to a thread, which dies with a traceback where the disk
is full, and the run does not learn of it before its end.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

BINS = 30
"""Of a histogram."""


class EventFile:
    """Writes scalars, histograms and pictures.

    Args:
        folder: which is made, in a folder that exists.
        purge: the first step that is written; what earlier files of the folder hold from it on is not shown.

    Raises:
        OSError: by any of its methods: it cannot be written.
    """

    def __init__(self, folder: Path, purge: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event: Any = Event
        folder.mkdir(exist_ok=True)
        again = any(folder.iterdir())
        now, rest = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{now:010d}.{socket.gethostname()}.{os.getpid()}.{rest}"
        self._file = (folder / name).open("wb")
        self._writer = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        if again:
            self._write(step=purge, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())

    def add_scalars(self, values: dict[str, float], step: int) -> None:
        """Write numbers of a step, by their names."""
        from torch.utils.tensorboard.summary import scalar

        for name, value in values.items():
            self._write(step=step, summary=scalar(name, value))
        self._file.flush()

    def add_histograms(self, values: Mapping[str, Tensor], step: int) -> None:
        """Write the distribution of the finite values of each tensor `(N,)`, by their names."""
        import numpy as np
        from torch.utils.tensorboard.summary import histogram

        for name, x in values.items():
            finite = x[x.isfinite()].double().numpy()
            if len(finite):
                low, high = finite.min(), finite.max()
                room = 0.5 if low == high else 0.0  # values that are all the same have a bin all the same
                bins = np.linspace(low - room, high + room, BINS + 1)
                self._write(step=step, summary=histogram(name, finite, bins))
        self._file.flush()

    def add_picture(self, name: str, picture: Tensor, step: int) -> None:
        """Write a picture `(3, H, W)`, uint8."""
        from torch.utils.tensorboard.summary import image

        self._write(step=step, summary=image(name, picture, dataformats="CHW"))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
