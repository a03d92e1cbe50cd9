"""Data of any modality: sources, loading, caching, checking."""

from ssl_zoo.data.check import check_source
from ssl_zoo.data.loader import Loader, RawBatch
from ssl_zoo.data.memory import MemorySplit, load
from ssl_zoo.data.reading import Reading, choose_reading
from ssl_zoo.data.resolve import resolve
from ssl_zoo.data.source import BadSample, Source, Split, Strings

__all__ = [
    "BadSample",
    "Loader",
    "MemorySplit",
    "RawBatch",
    "Reading",
    "Source",
    "Split",
    "Strings",
    "check_source",
    "choose_reading",
    "load",
    "resolve",
]
