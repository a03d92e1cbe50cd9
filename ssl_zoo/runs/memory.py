"""The most memory that a run has taken: on a GPU of the device's, on a CPU of the process's."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_memory() -> None:
    """Begin to measure anew, so that a run does not get the peak of another one before it in the same process.

    On a CPU only Linux has this; elsewhere the peak is that of the process since it started.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        _RESET.write_text("5", encoding="ascii")


def peak_memory(accelerator: str) -> int | None:
    """Return the peak in bytes: memory allocated on the CUDA device, or the resident memory of this process.

    Processes that read data are not counted. What a CPU process holds besides the run (the interpreter, torch: about
    300 MB) is.

    Args:
        accelerator: `cpu`, `cuda` or `mps`.

    Returns:
        None where it is not known.
    """
    if accelerator == "cuda":
        return torch.cuda.max_memory_allocated()
    if accelerator != "cpu":
        return None
    with suppress(OSError, StopIteration, ValueError):
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    with suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
