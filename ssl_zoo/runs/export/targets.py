"""The forms in which an encoder leaves this package: how each is written, read again by its library, and loaded."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError, needs
from ssl_zoo.runs.encoder_files import WEIGHTS
from ssl_zoo.runs.export.graphs import write_onnx, write_torchscript
from ssl_zoo.runs.export.subject import Plain, Subject
from ssl_zoo.runs.product import own_weights, write_weights

Forward = Callable[[Tensor], Tensor]


class Target(ABC):
    """A form of an exported encoder.

    Attributes:
        file: the name of its file in a folder; its ending is that of a file alone.
        tolerance: largest difference of the features that is allowed.
        library: as hubs call it.
        kept_by_load_encoder: whether `load_encoder` reads its folder.
    """

    file: ClassVar[str] = WEIGHTS
    tolerance: ClassVar[float] = 1e-5
    library: ClassVar[str]
    kept_by_load_encoder: ClassVar[bool] = True

    def check(self, subject: Subject, with_preprocessing: bool) -> None:
        """Make sure that an encoder can be exported so, before anything is written.

        Raises:
            UserError: it cannot, or a package is missing.
        """
        if with_preprocessing:
            raise UserError(f"--with-preprocessing: {self.file} holds weights alone; --to onnx has room for it.")
        if subject.is_whole:
            members = ", ".join(getattr(subject.module, "members", ()))
            raise UserError(
                f"--to {self.name}: the run has an encoder for each member; name one with --member ({members}), or use "
                "--to safetensors, which holds them all."
            )

    @property
    def name(self) -> str:
        """What `--to` calls it."""
        return next(name for name, target in TARGETS.items() if target is self)

    @abstractmethod
    def write(self, subject: Subject, folder: Path, with_preprocessing: bool) -> None:
        """Write the files into a folder."""

    @abstractmethod
    def read(self, subject: Subject, folder: Path) -> Forward:
        """Return what the library makes of the files: plain samples `(B, ...)` -> h `(B, D)`."""

    @abstractmethod
    def lines(self, subject: Subject, file: str) -> list[str]:
        """Return lines of Python that load a file; where `file` is a path of a folder's, that folder."""


class Safetensors(Target):
    """The weights under this package's names."""

    library = "ssl_zoo"

    def check(self, subject: Subject, with_preprocessing: bool) -> None:
        """Accept every encoder."""
        if with_preprocessing:
            super().check(subject, with_preprocessing)

    def write(self, subject: Subject, folder: Path, with_preprocessing: bool) -> None:
        """Write `model.safetensors`."""
        write_weights(own_weights(subject.module.state_dict()), folder / self.file)

    def read(self, subject: Subject, folder: Path) -> Forward:
        """Return the encoder, built from the card, with the weights of the file."""
        from safetensors.torch import load_file

        from ssl_zoo.runs.card import Card

        again = Card.model_validate(subject.card).build() if not subject.is_whole else subject.module
        again.load_state_dict(load_file(folder / self.file))
        return again.eval()

    def lines(self, subject: Subject, file: str) -> list[str]:
        """Return a call of `load_encoder`; of a file alone, one of safetensors."""
        if file.endswith(self.file):
            return ["import ssl_zoo", f"encoder = ssl_zoo.load_encoder({_folder(file)!r})"]
        return ["from safetensors.torch import load_file", f"weights = load_file({file!r})"]


class Torchvision(Target):
    """The weights of a model of torchvision without its classifier."""

    library = "torchvision"

    def check(self, subject: Subject, with_preprocessing: bool) -> None:
        """Make sure that torchvision has this encoder."""
        super().check(subject, with_preprocessing)
        subject.library_model("torchvision")

    def write(self, subject: Subject, folder: Path, with_preprocessing: bool) -> None:
        """Write `model.safetensors` under torchvision's names."""
        model = subject.library_model("torchvision")
        write_weights(own_weights(model.renamed(subject.module.state_dict())), folder / self.file)

    def read(self, subject: Subject, folder: Path) -> Forward:
        """Return torchvision's model."""
        import torchvision
        from safetensors.torch import load_file

        found = subject.library_model("torchvision")
        model: nn.Module = torchvision.models.get_model(found.name, weights=None, **dict(found.options))
        if found.head is not None:
            setattr(model, found.head, nn.Identity())
        model.load_state_dict(load_file(folder / self.file), strict=True)
        return model.eval()

    def lines(self, subject: Subject, file: str) -> list[str]:
        """Return the lines; the classifier becomes `Identity`, so that the weights load strictly."""
        found = subject.library_model("torchvision")
        return [
            "import torch, torchvision",
            "from safetensors.torch import load_file",
            f"model = torchvision.models.get_model({_call(found.name, found.options)})",
            *([] if found.head is None else [f"model.{found.head} = torch.nn.Identity()"]),
            f"model.load_state_dict(load_file({file!r}))",
            "model.eval()",
        ]


class Timm(Target):
    """A folder as timm's own on a hub: weights and `config.json`."""

    library = "timm"

    def check(self, subject: Subject, with_preprocessing: bool) -> None:
        """Make sure that timm has this encoder."""
        super().check(subject, with_preprocessing)
        subject.library_model("timm")

    def write(self, subject: Subject, folder: Path, with_preprocessing: bool) -> None:
        """Write `model.safetensors` under timm's names, and `config.json`, which says how it is made."""
        model = subject.library_model("timm")
        write_weights(own_weights(model.renamed(subject.module.state_dict())), folder / self.file)
        steps = subject.steps
        data = {
            "input_size": list(subject.spec.views[0].shape),
            "interpolation": steps.get("interpolation", "bilinear"),
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(subject.spec.mean or [0.0] * subject.spec.channels),
            "std": list(subject.spec.std or [1.0] * subject.spec.channels),
            "num_classes": 0,
            "custom_load": False,
        }
        config = {
            "architecture": model.name,
            "num_classes": 0,
            "num_features": subject.out_dim,
            "model_args": dict(model.options),
            "pretrained_cfg": data,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def read(self, subject: Subject, folder: Path) -> Forward:
        """Return timm's model, as timm makes it of the folder."""
        import timm

        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()

    def lines(self, subject: Subject, file: str) -> list[str]:
        """Return the lines; of a file alone, those that name its architecture."""
        if file.endswith(self.file):
            return ["import timm", f"model = timm.create_model('local-dir:{_folder(file)}', pretrained=True).eval()"]
        found = subject.library_model("timm")
        return [
            "import timm",
            "from safetensors.torch import load_file",
            f"model = timm.create_model({_call(found.name, {**found.options, 'num_classes': 0})})",
            f"model.load_state_dict(load_file({file!r}))",
            "model.eval()",
        ]


class Onnx(Target):
    """A graph for ONNX Runtime and others, for batches of any size."""

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


TARGETS: dict[str, Target] = {
    "safetensors": Safetensors(),
    "torchvision": Torchvision(),
    "timm": Timm(),
    "onnx": Onnx(),
    "torchscript": TorchScript(),
}
"""What `--to` names."""


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


def _folder(file: str) -> str:
    return str(Path(file).parent)


def _call(name: str, options: Any) -> str:
    return ", ".join([repr(name), *(f"{key}={value!r}" for key, value in options.items())])
