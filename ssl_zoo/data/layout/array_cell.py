"""A tensor as bytes in a table: what `numpy.save` writes, and nothing else is read."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from torch import Tensor

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.errors import UserError

MOST_SIDES = 16
"""Largest number of sides of an array."""

_HEADER = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}


def pack(sample: Tensor, name: str) -> bytes:
    """Return a tensor as the bytes of a `.npy` file.

    Raises:
        UserError: numpy has no numbers of its type, such as bfloat16.
    """
    file = io.BytesIO()
    try:
        np.save(file, sample.detach().cpu().contiguous().numpy(), allow_pickle=False)
    except TypeError:
        raise UserError(f"{name}: is of {sample.dtype}, which numpy does not know; convert the samples.") from None
    return file.getvalue()


def unpack(data: bytes, name: str) -> Tensor:
    """Return the tensor in the bytes of a `.npy` file; what its header says is compared with their number.

    Args:
        data: the bytes.
        name: of the sample, for messages.

    Raises:
        BadSample: they are no array of numbers.
    """
    stream = io.BytesIO(data)
    try:
        shape, fortran, dtype = _HEADER[np.lib.format.read_magic(stream)[0]](stream)
    except Exception as error:  # numpy reads the header by a parser of Python, which has many
        raise BadSample(name, f"no array that numpy.save wrote: {' '.join(str(error).split())[:100]}") from None
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "biufc" or fortran or len(shape) > MOST_SIDES or size != len(data) - stream.tell():
        raise BadSample(name, f"an array of {dtype} of shape {shape[:MOST_SIDES]}, which its bytes are not")
    array = np.frombuffer(data, dtype, math.prod(shape), stream.tell()).reshape(shape)
    try:
        return torch.from_numpy(array.astype(dtype.newbyteorder("="), copy=True))
    except TypeError:
        raise BadSample(name, f"torch has no numbers of type {dtype}") from None
