"""Data of any modality: sources, loading, caching, checking."""

from ssl_zoo.data.check import check_source
from ssl_zoo.data.loader import Loader, RawBatch
from ssl_zoo.data.memory import MemorySplit, load
from ssl_zoo.data.source import BadSample, Source, Split, Strings
from ssl_zoo.data.workers import Reading, choose_reading

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
]
