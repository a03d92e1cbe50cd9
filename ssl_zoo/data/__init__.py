"""Data of any modality: sources, loading, caching, checking."""

from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.check import check_source
from ssl_zoo.data.held import MemorySplit
from ssl_zoo.data.loader import Loader
from ssl_zoo.data.memory import load
from ssl_zoo.data.raw_batch import RawBatch
from ssl_zoo.data.source import Source, Split
from ssl_zoo.data.strings import Strings
from ssl_zoo.data.workers import WorkerChoice, choose_workers

__all__ = [
    "BadSample",
    "Loader",
    "MemorySplit",
    "RawBatch",
    "WorkerChoice",
    "Source",
    "Split",
    "Strings",
    "check_source",
    "choose_workers",
    "load",
]
