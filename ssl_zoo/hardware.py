"""Hardware of a run: device, precision and memory format, chosen for this machine and stated in its summary."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@dataclass(frozen=True)
class Hardware:
    """The choice: the device's name, the precision of the arithmetic and the layout of images in memory.

    `note` is a sentence for the user where something was not chosen that he may expect.
    """

    name: str
    accelerator: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "tf32", "bf16", "fp16"]
    memory_format: Literal["channels_last", "contiguous"]
    note: str = ""

    @property
    def device(self) -> torch.device:
        """The device of a run with one process, and of an evaluation."""
        return torch.device("cpu") if self.accelerator == "cpu" else torch.device(self.accelerator, 0)

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}, {self.memory_format}"


def use_memory_format(
    module: nn.Module, memory_format: Literal["channels_last", "contiguous"], accelerator: str = "cpu"
) -> list[str]:
    """Put the weights of 2-D convolutions into a memory format, in place; their outputs then have it too.

    Each module is asked for itself: torch has another layout for 3-D convolutions and refuses this one (`Module.to`
    with it raises), and nothing is gained where there are no convolutions.

    Args:
        module: whose submodules are searched for 2-D convolutions, transposed ones included.
        memory_format: of the weights; `contiguous` leaves them as they were made.
        accelerator: what computes; on a CPU the layers that `is_unsafe` names compute on contiguous tensors, in
            whatever format their input comes.

    Returns:
        The names of these layers.
    """
    unsafe = []
    for name, layer in module.named_modules():
        if accelerator == "cpu" and is_unsafe(layer):
            layer.register_forward_pre_hook(_contiguous)
            unsafe.append(name)
        elif memory_format == "channels_last" and isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.to(memory_format=torch.channels_last)
    return unsafe


def is_unsafe(layer: nn.Module) -> bool:
    """Return whether the backward pass of a convolution in channels_last writes outside its memory on a CPU.

    torch 2.14.1 does so, and the process dies of it, for a 1 x 1 convolution with a stride over 2 to 7 channels in
    float32, where the stride leaves out the last pixels of a side; with 8 channels or more, with 1, with groups, with a
    larger kernel and on contiguous tensors it does not.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and 1 < layer.weight.shape[1] < 8  # channels that come in
        and set(layer.kernel_size) == {1}
        and max(layer.stride) > 1
    )


def _contiguous(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() for x in inputs)


def cpu_name() -> str:
    """Return the processor's name and the number of threads that torch uses."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{model}, {torch.get_num_threads()} threads"


def cpus_of_each(processes: int) -> int:
    """Return the CPUs for each of some processes on this machine, at least 1: those that this one may use, divided."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus // processes)


def choose(
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto",
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto",
    for_training: bool = True,
) -> Hardware:
    """Choose device, precision and memory format; what the recipe names is taken as it is.

    `auto` means float32 on a CPU (exact, and resumable bit for bit), bfloat16 autocast on a GPU that computes in it and
    does not emulate it, and channels_last on both: 2-D convolutions run faster in this layout.

    Args:
        precision: the recipe's `training.precision`.
        memory_format: the recipe's `training.memory_format`.
        for_training: refuse a precision that this machine cannot train in; an evaluation takes float32 instead.

    Raises:
        UserError: fp16 on a CPU, which torch would train in bfloat16; tf32 where there is none.
    """
    accelerator: Literal["cpu", "cuda", "mps"] = "cpu"
    note = ""
    if torch.cuda.is_available():
        accelerator, name = "cuda", torch.cuda.get_device_name()
    elif torch.backends.mps.is_available():
        accelerator, name = "mps", "Apple GPU"
    else:
        name = cpu_name()
    if precision == "auto":
        precision = "bf16" if accelerator == "cuda" and _has_bf16() else "fp32"
        if accelerator == "cuda" and precision == "fp32":
            note = f"training.precision: float32, since {name} would only emulate bfloat16; fp16 uses its tensor cores."
    elif problem := _unfit(precision, accelerator):
        if for_training:
            raise UserError(f"training.precision: {precision} {problem}")
        precision = "fp32"
    return Hardware(name, accelerator, precision, "channels_last" if memory_format == "auto" else memory_format, note)


def _has_bf16() -> bool:
    """Return whether the GPU computes in bfloat16 itself."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _unfit(precision: str, accelerator: str) -> str:
    """Return why a machine cannot train in a precision; empty where it can."""
    if precision == "fp16" and accelerator == "cpu":
        return "needs a GPU, and this machine computes on a CPU; use fp32, bf16 or auto."
    # What has bfloat16 has TF32: both came with NVIDIA's compute capability 8.0.
    if precision == "tf32" and not (accelerator == "cuda" and _has_bf16()):
        return "needs an NVIDIA GPU of compute capability 8.0 or above; use fp32 or auto."
    return ""


@contextmanager
def arithmetic(accelerator: str, precision: str = "fp32", fixed_shapes: bool = False) -> Iterator[None]:
    """Set how a GPU multiplies numbers in float32, and restore it when the context ends.

    torch lets cuDNN's convolutions round their inputs to TF32's 10 bits, and matrix products not. Here all of them use
    all 23 bits of float32, in `bf16` and `fp16` too: what autocast leaves in float32 is there for its accuracy. Only
    the precision `tf32` rounds, and then both.

    Args:
        accelerator: `cuda` sets it; others have no such choice and are left alone.
        precision: of `Hardware`.
        fixed_shapes: whether the inputs have the same shapes again and again, so that it is worth it to let cuDNN time
            its algorithms for each of them (`torch.backends.cudnn.benchmark`).
    """
    if accelerator != "cuda":
        yield
        return
    before = _Float32()
    cudnn: Any = torch.backends.cudnn
    rounds = precision == "tf32"
    try:
        cudnn.benchmark, cudnn.allow_tf32 = fixed_shapes or cudnn.benchmark, rounds
        torch.set_float32_matmul_precision("high" if rounds else "highest")
        for op, _ in before.each:  # else a setting for all of torch would hold
            op.fp32_precision = "tf32" if rounds else "ieee"
        yield
    finally:
        before.restore()


class _Float32:
    """How torch multiplies numbers in float32, as it was when this was made."""

    def __init__(self) -> None:
        cudnn: Any = torch.backends.cudnn
        mkldnn: Any = torch.backends.mkldnn
        kinds: list[Any] = [torch.backends.cuda.matmul]
        kinds += [getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None), getattr(mkldnn, "matmul", None)]
        # From torch 2.9 on each kind of operation has a setting; where they differ, those for all cannot be read.
        self.each = [(op, op.fp32_precision) for op in kinds if hasattr(op, "fp32_precision")]
        self.benchmark = cudnn.benchmark
        try:
            self.convolutions, self.products = cudnn.allow_tf32, torch.get_float32_matmul_precision()
        except RuntimeError:
            self.convolutions, self.products = True, "highest"

    def restore(self) -> None:
        """Make it so again."""
        cudnn: Any = torch.backends.cudnn
        cudnn.benchmark, cudnn.allow_tf32 = self.benchmark, self.convolutions
        torch.set_float32_matmul_precision(self.products)
        for op, value in self.each:
            if op.fp32_precision != value:
                op.fp32_precision = value


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which operations on a device keep the types of their arguments.

    The meta device, on which a recipe's parts are tried, has no autocast, and torch refuses to turn it off there.
    """
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


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
    products = {"float32_products": "tf32" if hardware.precision == "tf32" else "ieee"}
    return {
        "hardware": hardware.name,
        "precision": hardware.precision,
        **(products if hardware.accelerator == "cuda" else {}),
        "memory_format": hardware.memory_format,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("ssl_zoo", "torch", "torchvision")},
    }


@cache
def _version(name: str) -> str:
    return version(name)  # reads and parses a file
