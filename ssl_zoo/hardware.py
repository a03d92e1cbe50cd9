"""Hardware of a run: device, precision and memory format, chosen for this machine and stated in its summary."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ssl_zoo.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@dataclass(frozen=True)
class Hardware:
    """The choice: the device's name, the precision of the arithmetic and the layout of images in memory."""

    name: str
    accelerator: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16", "fp16"]
    memory_format: Literal["channels_last", "contiguous"]

    @property
    def device(self) -> torch.device:
        """The device of a run with one process, and of an evaluation."""
        return torch.device("cpu") if self.accelerator == "cpu" else torch.device(self.accelerator, 0)

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}, {self.memory_format}"


def use_memory_format(module: nn.Module, memory_format: Literal["channels_last", "contiguous"]) -> None:
    """Put the weights of 2-D convolutions into a memory format, in place; their outputs then have it too.

    Each module is asked for itself: torch has another layout for 3-D convolutions and refuses this one (`Module.to`
    with it raises), and nothing is gained where there are no convolutions.

    Args:
        module: whose submodules are searched for 2-D convolutions, transposed ones included.
        memory_format: of the weights; `contiguous` leaves them as they were made.
    """
    if memory_format == "contiguous":
        return
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.to(memory_format=torch.channels_last)


def cpu_name() -> str:
    """Return the processor's name and the number of threads that torch uses."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{model}, {torch.get_num_threads()} threads"


def choose(
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto",
    for_training: bool = True,
) -> Hardware:
    """Choose device, precision and memory format; what the recipe names is taken as it is.

    `auto` means float32 on a CPU (exact, and resumable bit for bit), bfloat16 autocast on a GPU that has it, and
    channels_last on both: 2-D convolutions run faster in this layout.

    Args:
        precision: the recipe's `training.precision`.
        memory_format: the recipe's `training.memory_format`.
        for_training: refuse a precision that this machine cannot train in; an evaluation takes float32 instead.

    Raises:
        UserError: fp16 on a CPU, which torch would train in bfloat16.
    """
    accelerator: Literal["cpu", "cuda", "mps"] = "cpu"
    if torch.cuda.is_available():
        accelerator, name = "cuda", torch.cuda.get_device_name()
    elif torch.backends.mps.is_available():
        accelerator, name = "mps", "Apple GPU"
    else:
        name = cpu_name()
    if precision == "auto":
        precision = "bf16" if accelerator == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    elif precision == "fp16" and accelerator == "cpu":
        if for_training:
            raise UserError(
                "training.precision: fp16 needs a GPU, and this machine computes on a CPU; use fp32, bf16 or auto."
            )
        precision = "fp32"
    return Hardware(name, accelerator, precision, "channels_last" if memory_format == "auto" else memory_format)


def keep_memory() -> None:
    """Make the C library keep memory that is freed, for the next step, which needs as much again.

    Returned memory comes back as new pages, one fault every 4 KiB: a tenth of a training step on a CPU and more of the
    views. Only glibc has this setting; one that the environment makes is left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt(_M_MMAP_THRESHOLD, 2**30)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def check_compiler() -> None:
    """Make sure that `training.compile` can work.

    Raises:
        UserError: there is no compiler.
    """
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "c++"]
    if not any(shutil.which(name) for name in names):
        raise UserError(
            f"training.compile: torch needs a C++ compiler, and none of {', '.join(names)} is on the PATH; install "
            "one, or set training.compile=false."
        )


def environment(hardware: Hardware) -> dict[str, Any]:
    """Return hardware and versions, for the summary and for every table."""
    return {
        "hardware": hardware.name,
        "precision": hardware.precision,
        "memory_format": hardware.memory_format,
        "python": platform.python_version(),
        **{name: version(name) for name in ("ssl_zoo", "torch", "torchvision")},
    }
