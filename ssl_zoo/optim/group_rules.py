"""The rule of a parameter group, as a recipe states it; free of torch, so that recipes load fast."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Group(BaseModel):
    """A rule for some parameters; where several match, the later one wins.

    `of` names them: a component of the method (`encoder`, `projector`, `predictor`, `objective`) or a module inside one
    (`projector.last`), `bias` (biases of layers that are no norm) or `norm` (scale and shift of norm layers). For the
    first `frozen_epochs` of the run they do not move.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: Annotated[tuple[str, ...], Field(min_length=1)]
    lr_scale: Annotated[float, Field(gt=0)] = 1.0
    schedule: Literal["recipe", "constant"] = "recipe"
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    adapt: bool | None = None
    frozen_epochs: Annotated[float, Field(ge=0)] = 0.0
