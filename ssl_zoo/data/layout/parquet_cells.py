"""The cell of a parquet column that holds one encoded sample."""

from __future__ import annotations

from typing import Any

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.files import check_size
from ssl_zoo.data.source import Modality


def cell_of(value: Any, name: str, modality: Modality) -> bytes | str | list[str]:
    """Return the encoded sample in one of arrow's values.

    Args:
        value: of an array of bytes, of strings, or of lists of strings.
        name: of the sample, for messages.
        modality: of the sample; its `max_bytes` is the limit.

    Raises:
        BadSample: there is none, it is too large, or is called a string and is none.
    """
    if not value.is_valid:
        raise BadSample(name, "the row holds no sample")
    size = len(value.values) if hasattr(value, "values") else value.as_buffer().size
    check_size(size, name, modality)
    try:
        found: bytes | str | list[str] = value.as_py()
        return found
    except UnicodeDecodeError as error:  # arrow does not look at what a file calls a string
        reason = f"it is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x} ({error.reason})"
        raise BadSample(name, reason) from None
