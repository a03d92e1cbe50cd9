"""What the run computes on: device, precision and memory format, chosen for the hardware and stated."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_zoo.errors import UserError
from ssl_zoo.recipe.model import Training

_FABRIC_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


class Replicas(DDPStrategy):
    """DistributedDataParallel with what this package asks of it.

    Buffers are not broadcast: they are equal on all processes by construction, or (`norm: local`) a process's own.

    Attributes:
        has_unused: whether the module has trainable parameters that its loss does not reach; to be set before
            `setup_module`.
    """

    has_unused: bool = False

    def setup_module(self, module: nn.Module) -> DistributedDataParallel:
        """Return the module wrapped, so that gradients are averaged over processes."""
        known = signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # its older name
        options: dict[str, Any] = {buffers: False, "find_unused_parameters": self.has_unused}
        devices = None if self.root_device.type == "cpu" else [self.root_device.index]
        return DistributedDataParallel(module, device_ids=devices, **options)


@dataclass(frozen=True)
class Hardware:
    """The choice: the device's name, the precision of the arithmetic and the layout of images in memory."""

    name: str
    accelerator: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16", "fp16"]
    memory_format: Literal["channels_last", "contiguous"]

    def fabric(self, devices: int = 1, num_nodes: int = 1) -> Fabric:
        """Return Lightning Fabric set up for some such devices, one process each, on each of some machines."""
        return Fabric(
            accelerator=self.accelerator,
            devices=devices,
            num_nodes=num_nodes,
            strategy=Replicas() if devices * num_nodes > 1 else "auto",
            precision=_FABRIC_PRECISION[self.precision],
        )

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}, {self.memory_format}"


def cpu_name() -> str:
    """Return the processor's name and the number of threads that torch uses."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{model}, {torch.get_num_threads()} threads"


def choose(training: Training, for_training: bool = True) -> Hardware:
    """Choose device, precision and memory format; what the recipe names is taken as it is.

    `auto` means float32 on a CPU (exact, and resumable bit for bit), bfloat16 autocast on a GPU that has it, and
    channels_last on both: convolutions of batches are faster so.

    Args:
        training: the recipe's.
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
    precision = training.precision
    if precision == "auto":
        precision = "bf16" if accelerator == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    elif precision == "fp16" and accelerator == "cpu":
        if for_training:
            raise UserError(
                "training.precision: fp16 needs a GPU, and this machine computes on a CPU; use fp32, bf16 or auto."
            )
        precision = "fp32"
    memory_format = "channels_last" if training.memory_format == "auto" else training.memory_format
    return Hardware(name, accelerator, precision, memory_format)


def keep_memory() -> None:
    """Tell the C library to keep memory that is freed, for the next step, which needs as much again.

    Returned memory comes back as new pages, one fault every 4 KiB: a tenth of a training step on a CPU and more of the
    views. Only glibc has such a setting; one that the environment makes is left alone.
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
