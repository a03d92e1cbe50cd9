"""Exports that hold weights, for a library that builds the network: ssl_zoo itself, torchvision and timm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from ssl_zoo.runs.export.subject import Subject
from ssl_zoo.runs.export.target import Forward, Target
from ssl_zoo.runs.product import own_weights, write_weights


class Safetensors(Target):
    """The weights under this package's names."""

    name = "safetensors"
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

    name = "torchvision"
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

    name = "timm"
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


def _folder(file: str) -> str:
    return str(Path(file).parent)


def _call(name: str, options: Any) -> str:
    return ", ".join([repr(name), *(f"{key}={value!r}" for key, value in options.items())])
