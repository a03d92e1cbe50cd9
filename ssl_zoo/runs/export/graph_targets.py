"""Exports that hold the computation too, for a program without ssl_zoo: ONNX and TorchScript."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError, needs
from ssl_zoo.runs.export.graphs import write_onnx, write_torchscript
from ssl_zoo.runs.export.subject import Plain, Subject
from ssl_zoo.runs.export.target import Forward, Target


class Onnx(Target):
    """A graph for ONNX Runtime and others, for batches of any size."""

    name = "onnx"
    file = "model.onnx"
    tolerance = 1e-4
    library = "onnx"
    kept_by_load_encoder = False

    def check(self, subject: Subject, with_preprocessing: bool) -> None:
        """Make sure that the packages are there, and that the preprocessing can be written as a graph."""
        super().check(subject, False)
        for package in ("onnx", "onnxscript", "onnxruntime"):
            needs(package, "'ssl_zoo[onnx]'", "--to onnx")
        if with_preprocessing:
            prepared(subject)

    def write(self, subject: Subject, folder: Path, with_preprocessing: bool) -> None:
        """Write `model.onnx`."""
        if with_preprocessing:
            module, shape = prepared(subject), subject.spec.views[0].shape
            example = torch.zeros(2, shape[0], *(2 * side + i for i, side in enumerate(shape[1:])), dtype=torch.uint8)
            free = (0, *range(2, example.ndim))
        else:
            module, example, free = subject.module, example_of(subject), (0,)
        write_onnx(module, example, free, folder / self.file, subject.name)

    def read(self, subject: Subject, folder: Path) -> Forward:
        """Return what ONNX Runtime computes on a CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(folder / self.file), options, providers=["CPUExecutionProvider"])
        return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])

    def lines(self, subject: Subject, file: str) -> list[str]:
        """Return the lines, with `input` a NumPy array."""
        return [
            "import onnxruntime",
            f"session = onnxruntime.InferenceSession({file!r})",
            "(features,) = session.run(None, {'input': input})",
        ]


class TorchScript(Target):
    """A traced module, which C++ loads too."""

    name = "torchscript"
    file = "model.pt"
    library = "pytorch"
    kept_by_load_encoder = False

    def check(self, subject: Subject, with_preprocessing: bool) -> None:
        """Make sure that the preprocessing can be traced."""
        super().check(subject, False)
        if with_preprocessing:
            prepared(subject)

    def write(self, subject: Subject, folder: Path, with_preprocessing: bool) -> None:
        """Write `model.pt`."""
        if with_preprocessing:
            shape = subject.spec.views[0].shape
            example = torch.zeros(2, *(2 * side if i else side for i, side in enumerate(shape)), dtype=torch.uint8)
            write_torchscript(prepared(subject), example, folder / self.file, subject.name)
        else:
            write_torchscript(subject.module, example_of(subject), folder / self.file, subject.name)

    def read(self, subject: Subject, folder: Path) -> Forward:
        """Return the loaded module."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer torch prefers torch.export, which no other program reads yet
            loaded: nn.Module = torch.jit.load(str(folder / self.file))
        return loaded.eval()

    def lines(self, subject: Subject, file: str) -> list[str]:
        """Return the lines."""
        return ["import torch", f"model = torch.jit.load({file!r}).eval()"]


def prepared(subject: Subject) -> nn.Module:
    """Return the encoder behind the module that prepares its samples.

    Raises:
        UserError: the views do not offer one.
    """
    prepare = None if subject.inputs is None else subject.inputs.policy.plain_module()
    if prepare is None:
        raise UserError(
            "--with-preprocessing: these views have no preprocessing that a graph can hold; leave it out, and prepare "
            "samples by encoder.preprocess."
        )
    return Plain(prepare, subject.module).eval()


def example_of(subject: Subject) -> Tensor:
    """Return a batch of two plain samples, by which the module is traced."""
    view = subject.spec.views[0]
    if subject.spec.vocabulary is not None:
        return torch.ones(2, *view.shape, dtype=view.dtype)
    return torch.zeros(2, *view.shape, dtype=view.dtype)
