"""How a fine-tuning trains: checked numbers, with the defaults that docs/howto/fine-tune.md has the figures of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssl_zoo.errors import UserError, explain

LEAST_BATCH = 16
"""Samples of a batch whose statistics BatchNorm uses by itself: those of fewer are noise."""


class Settings(BaseModel):
    """Options of a fine-tuning.

    Attributes:
        steps: most optimizer steps of the second stage, that of all weights; 0 keeps the linear classifier.
        lr: learning rate of the classifier, at its full height after a tenth of the steps.
        layer_decay: factor from a layer's learning rate to that of the one before it.
        batch_size: samples per step; smaller data is used whole.
        weight_decay: of AdamW, on matrices and kernels.
        norm: with `batch`, BatchNorm uses the statistics of each batch and goes on averaging them; with `frozen`, it
            keeps those of the self-supervised training and trains its scale and shift alone; `auto` is `batch` where
            batches have at least `LEAST_BATCH` samples.
        mixup: alpha of mixup (Zhang et al. 2018, arXiv 1710.09412); 0 leaves it out.
        patience: so many looks in a row that are clearly worse than the best, on the held-out part, end the training.
        labels: use so many labelled samples of train, drawn by class; None uses all.
        seed: of the part held out, the order of samples, their views, and what else is random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: Annotated[int, Field(ge=0)] = 300
    lr: Annotated[float, Field(gt=0)] = 3e-3
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.75
    batch_size: Annotated[int, Field(ge=2)] = 32
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    norm: Literal["auto", "batch", "frozen"] = "auto"
    mixup: Annotated[float, Field(ge=0)] = 0.0
    patience: Annotated[int, Field(ge=1)] = 5
    labels: Annotated[int, Field(ge=2)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    def freezes_norms(self, num: int) -> bool:
        """Return whether BatchNorm keeps its statistics, with `num` samples to learn from."""
        return self.norm == "frozen" or (self.norm == "auto" and min(self.batch_size, num) < LEAST_BATCH)


def settings_of(options: dict[str, Any]) -> Settings:
    """Return checked settings.

    Raises:
        UserError: an unknown option, or a value out of range.
    """
    try:
        return Settings.model_validate(options)
    except ValidationError as error:
        raise UserError(explain(error, "fine-tuning", Settings)) from None
