"""Non-contrastive self-supervised learning from swappable parts."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_zoo.batch import Batch as Batch
    from ssl_zoo.batch import View as View
    from ssl_zoo.errors import UserError as UserError
    from ssl_zoo.evaluation.embed import embed as embed
    from ssl_zoo.evaluation.evaluate import evaluate as evaluate
    from ssl_zoo.methods.build import build as build
    from ssl_zoo.methods.method import Method as Method
    from ssl_zoo.recipe.load import load_recipe as load_recipe
    from ssl_zoo.recipe.model import Recipe as Recipe
    from ssl_zoo.registry import names as names
    from ssl_zoo.registry import register as register
    from ssl_zoo.runs.encoder import load_encoder as load_encoder
    from ssl_zoo.runs.export.export import export as export
    from ssl_zoo.search.curate import curate as curate
    from ssl_zoo.search.duplicates import duplicates as duplicates
    from ssl_zoo.search.neighbours import neighbours as neighbours
    from ssl_zoo.studies.compare import compare as compare
    from ssl_zoo.studies.finetuning.classifier import load_classifier as load_classifier
    from ssl_zoo.studies.finetuning.finetune import finetune as finetune
    from ssl_zoo.studies.finetuning.predict import predict as predict
    from ssl_zoo.studies.init_recipe import init_recipe as init_recipe
    from ssl_zoo.training.train import train as train

_HOMES = {
    "Batch": "ssl_zoo.batch",
    "Method": "ssl_zoo.methods.method",
    "Recipe": "ssl_zoo.recipe.model",
    "UserError": "ssl_zoo.errors",
    "View": "ssl_zoo.batch",
    "build": "ssl_zoo.methods.build",
    "compare": "ssl_zoo.studies.compare",
    "curate": "ssl_zoo.search.curate",
    "duplicates": "ssl_zoo.search.duplicates",
    "embed": "ssl_zoo.evaluation.embed",
    "evaluate": "ssl_zoo.evaluation.evaluate",
    "export": "ssl_zoo.runs.export.export",
    "finetune": "ssl_zoo.studies.finetuning.finetune",
    "init_recipe": "ssl_zoo.studies.init_recipe",
    "load_classifier": "ssl_zoo.studies.finetuning.classifier",
    "load_encoder": "ssl_zoo.runs.encoder",
    "load_recipe": "ssl_zoo.recipe.load",
    "names": "ssl_zoo.registry",
    "neighbours": "ssl_zoo.search.neighbours",
    "predict": "ssl_zoo.studies.finetuning.predict",
    "register": "ssl_zoo.registry",
    "train": "ssl_zoo.training.train",
}
"""The public names and the modules they live in; each is imported when it is first used."""

__all__ = [
    "Batch",
    "Method",
    "Recipe",
    "UserError",
    "View",
    "build",
    "compare",
    "curate",
    "duplicates",
    "embed",
    "evaluate",
    "export",
    "finetune",
    "init_recipe",
    "load_classifier",
    "load_encoder",
    "load_recipe",
    "names",
    "neighbours",
    "predict",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("ssl_zoo")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
