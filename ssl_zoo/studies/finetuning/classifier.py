"""The classifier as a folder: its encoder like a run's, its head, and a card with the names of its classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.supervised import Classifier
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.atomic import replacing, write_atomically
from ssl_zoo.runs.encoder import load_encoder
from ssl_zoo.runs.folder import RunFolder, to_json
from ssl_zoo.runs.product import save_encoder
from ssl_zoo.runs.weights import read_tensors

HEAD, CARD = "classifier.safetensors", "classifier.json"
LARGEST_CARD = 2**24
"""Bytes; the names of many classes take some."""


class ClassifierCard(BaseModel):
    """What is read of `classifier.json`; the rest is for people.

    Attributes:
        classes: the name of each class, by the position of its score.
        labels: the label of each class in the data that it was trained on.
    """

    model_config = ConfigDict(strict=True)
    classes: Annotated[list[str], Field(min_length=2)]
    labels: list[int]


class TrainedClassifier(nn.Module):
    """A fine-tuned classifier: plain samples, normalised as the encoder's card states -> scores `(B, K)`.

    Args:
        model: the encoder and its head.
        classes: the name of each class.

    Attributes:
        encoder: the fine-tuned encoder.
        head: the linear layer on it.
        classes: the name of each class, by the position of its score.
    """

    def __init__(self, model: Classifier, classes: list[str]) -> None:
        super().__init__()
        self.encoder: Any = model.encoder
        self.head, self.classes = model.head, classes

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores `(B, K)` of plain samples; their softmax are the probabilities."""
        scores: Tensor = self.head(self.encoder(x))
        return scores

    @torch.no_grad()
    def classify(self, samples: Any) -> Any:
        """Return the class of a sample and its probability, `(name, 0 to 1)`; of several samples a list of these.

        Args:
            samples: files, pictures, arrays, as `embed` of an encoder takes them, see `ssl_zoo.load_encoder`.

        Raises:
            UserError: a sample cannot be read.
        """
        h = self.encoder.embed(samples).to(self.head.weight.device)
        found = list(self.named(self.head(h if h.ndim == 2 else h[None])))
        return found if h.ndim == 2 else found[0]

    def named(self, scores: Tensor) -> Iterator[tuple[str, float]]:
        """Yield the class and its probability for each row of scores `(B, K)`."""
        shares, best = scores.float().softmax(dim=1).max(dim=1)
        yield from zip([self.classes[i] for i in best.tolist()], shares.tolist(), strict=True)


def write_classifier(
    folder: Path, model: Classifier, recipe: Recipe, steps: int, environment: dict[str, Any], card: dict[str, Any]
) -> None:
    """Write the encoder as that of a run of the recipe, the head and the card.

    Args:
        folder: that exists.
        model: the classifier.
        recipe: of the run that the encoder comes from, with the data of the fine-tuning.
        steps: of the fine-tuning.
        environment: hardware and versions.
        card: `classes`, `labels`, and what else is to be known.

    Raises:
        CannotWrite: the disk is full.
        TrainingFailed: weights that are not finite.
    """
    from safetensors.torch import save

    run = RunFolder(folder)
    run.create(recipe)
    save_encoder(run, model.encoder, recipe, steps, environment)
    encoder_card = json.loads(run.card.read_text(encoding="utf-8"))
    head = {name: value.detach().cpu().contiguous() for name, value in model.head.state_dict().items()}
    with replacing(folder / HEAD) as file:
        file.write(save(head))
    write_atomically(folder / CARD, to_json({**card, "encoder": encoder_card}, indent=2) + "\n")


def load_classifier(folder: str | Path) -> TrainedClassifier:
    """Return a classifier that `finetune` has made, in evaluation mode, on the CPU.

    Args:
        folder: its folder.

    Raises:
        UserError: it holds none, or files that do not belong together or were damaged.
    """
    path = Path(folder)
    if not (path / CARD).is_file() or not (path / HEAD).is_file():
        raise UserError(f"{path}: holds no classifier ({HEAD} with {CARD}); ssl-zoo finetune makes one.")
    card = _read_card(path / CARD)
    model = Classifier(load_encoder(path), len(card.classes))
    try:
        model.head.load_state_dict(read_tensors(path / HEAD))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path / HEAD}: does not fit its card or its encoder: {reason}") from None
    if not all(value.isfinite().all() for value in model.head.state_dict().values()):
        raise UserError(f"{path / HEAD}: holds values that are not finite (nan or inf).")
    return TrainedClassifier(model, card.classes).eval()


def _read_card(path: Path) -> ClassifierCard:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_CARD + 1)
        if len(text) > LARGEST_CARD:
            raise ValueError
        return ClassifierCard.model_validate(json.loads(text))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    except (ValidationError, ValueError, RecursionError):
        raise UserError(f"{path}: is not the card of a classifier of ssl_zoo.") from None
