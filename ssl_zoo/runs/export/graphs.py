"""Encoders as graphs of operations: ONNX and TorchScript."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError, describe_error

OPSET = 20
"""Version of the operations of ONNX, of 2023: programs that run graphs know it."""


def write_onnx(module: nn.Module, example: Tensor, free: Sequence[int], path: Path, name: str) -> None:
    """Write a module as a graph whose input is `input` and whose output is `features`.

    Args:
        module: `(B, ...)` -> `(B, D)`.
        example: of its input; sizes that are free are at least 2.
        free: the axes of the input whose sizes are free.
        path: of the file.
        name: of the encoder, for messages.

    Raises:
        UserError: it cannot be written so.
    """
    names = ("batch", "channels", "height", "width")
    axes = {axis: torch.export.Dim(names[axis] if example.ndim == 4 else f"size{axis}") for axis in free}
    with _quiet(), _explained("onnx", name):
        torch.onnx.export(
            module,
            (example,),
            str(path),
            dynamo=True,
            dynamic_shapes=(axes,),
            opset_version=OPSET,
            input_names=["input"],
            output_names=["features"],
            external_data=False,
            verbose=False,
        )


def write_torchscript(module: nn.Module, example: Tensor, path: Path, name: str) -> None:
    """Write a traced module; see `write_onnx` for the arguments.

    Raises:
        UserError: it cannot be traced.
    """
    with _quiet(), _explained("torchscript", name), torch.no_grad():
        torch.jit.save(torch.jit.trace(module, example, check_trace=False), str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the warnings of the exporters, which are about torch's own code, from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _explained(to: str, name: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except OSError:
        raise
    except Exception as error:
        raise UserError(
            f"--to {to}: torch cannot write the encoder {name} as a graph: {describe_error(error)[:300]}; --to "
            "safetensors can hold it."
        ) from error
