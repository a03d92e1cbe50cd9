"""The modality `timeseries`: `.csv` and `.npy` files become float32 `(C, L)`, of any length."""

from __future__ import annotations

from typing import BinaryIO

from torch import Tensor

from ssl_zoo.batch import InputSpec
from ssl_zoo.data.source import Modality
from ssl_zoo.registry import register
from timeseries.decode import EXTENSIONS, decode


@register("modality", "timeseries")
class TimeSeries(Modality):
    """Multivariate time series, a file for each: CSV with or without a header, or arrays that `numpy.save` wrote.

    Args:
        spec: of the views, for their channels.
        time_first: whether a row of a file is a time step and a column a channel; otherwise the reverse.
    """

    axes = "time steps"
    extensions = EXTENSIONS
    columns = ("series",)
    max_bytes = 2**28

    def __init__(self, spec: InputSpec, *, time_first: bool = True) -> None:
        super().__init__(spec)
        self.time_first = time_first

    def decode(self, data: bytes | BinaryIO, name: str) -> Tensor:
        """Return an encoded series as float32 `(C, L)`; see `timeseries.decode.decode`."""
        return decode(data, name, self.spec.channels, self.time_first)
