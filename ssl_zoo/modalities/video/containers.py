"""Whether an encoded video is whole: the sizes that its container states, compared with the bytes that are there.

No reader reports this. Of a Matroska file that was cut short, torchcodec and PyAV decode what is left without an error,
and of an MP4 file whose index comes first, too.
"""

from __future__ import annotations

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = 0x18538067
_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx", b"moof", b"pnot"})


def missing_bytes(data: bytes) -> int:
    """Return how many bytes the container announces beyond the end of the data.

    0 for a whole file, and for formats that do not say: streams whose size was not known when they were written.

    Args:
        data: of a file: MP4 and MOV, Matroska and WebM, or AVI.
    """
    if data.startswith(_EBML):
        return max(0, _end_of_matroska(data) - len(data))
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return max(0, 8 + int.from_bytes(data[4:8], "little") - len(data))
    if data[4:8] in _BOXES:
        return max(0, _end_of_boxes(data) - len(data))
    return 0


def _end_of_boxes(data: bytes) -> int:
    """Return where the last box at the top of an ISO base media file ends (ISO/IEC 14496-12, section 4.2)."""
    place = 0
    while place + 8 <= len(data):
        size, header = int.from_bytes(data[place : place + 4], "big"), 8
        if size == 1:  # a size of 64 bits follows the name
            size, header = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if size == 0:  # to the end of the file
            return len(data)
        if size < header:  # no box: what follows the last one is not ours to judge
            break
        place += size
    return place


def _end_of_matroska(data: bytes) -> int:
    """Return where the last element at the top of a Matroska file ends; that of a stream is the end of the data."""
    place = 0
    while place < len(data):
        name, place = _number(data, place, keep_marker=True)
        size, place = _number(data, place)
        if size is None or name is None:
            return len(data)
        place += size
        if name == _SEGMENT:
            break
    return place


def _number(data: bytes, place: int, keep_marker: bool = False) -> tuple[int | None, int]:
    """Return a number of variable length (RFC 8794, section 4) and the place after it; None for an unknown one."""
    first = data[place] if place < len(data) else 0
    length = 9 - first.bit_length()
    if not first or place + length > len(data):
        return None, len(data)
    value = int.from_bytes(data[place : place + length], "big")
    unknown = value & ((1 << 7 * length) - 1) == (1 << 7 * length) - 1
    if not keep_marker:
        value &= (1 << 7 * length) - 1
    return (None if unknown and not keep_marker else value), place + length
