"""What a modality suggests for a first recipe on some data: settings with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Setting:
    """A key of a recipe, its value, and why.

    Attributes:
        key: dotted, such as `views.size`.
        value: plain data, as YAML holds it.
        why: a short reason, for the comment beside it.
    """

    key: str
    value: Any
    why: str


@dataclass(frozen=True)
class Given:
    """What a modality knows of the task when it suggests settings.

    Attributes:
        num: samples to train on.
        accelerator: whether the machine has a GPU.
        method: the method's own recipe, as plain data.
        near: the recipe of a shipped experiment with the method on data of this kind, as plain data; None where there
            is none.
    """

    num: int
    accelerator: bool
    method: Mapping[str, Any]
    near: Mapping[str, Any] | None

    @property
    def has_patches(self) -> bool:
        """Whether the method needs an encoder of patches, since it hides some of them."""
        return "masks" in self.method


@dataclass(frozen=True)
class Defaults:
    """What a modality suggests.

    Attributes:
        facts: what was seen of the samples, `{"size": "32x32"}`, for the user.
        settings: on top of the start.
        start: the recipe that they are put on: the method's own (`method`), or that of the experiment (`near`).
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    start: Literal["method", "near"] = "near"
