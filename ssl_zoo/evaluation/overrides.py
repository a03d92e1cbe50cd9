"""Overrides of an evaluation: refused where they would have no effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.data.source import Split, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import first_sample
from ssl_zoo.methods.build import build_views
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe

_SECTIONS = ("evaluation", "data", "views", "seed")
_KEYS = ("training.precision",)
_OF_TRAINING = ("every", "online", "data", "best", "best_mode", "report_samples")
_UNUSED = ("data.num_workers", *(f"evaluation.{key}" for key in _OF_TRAINING))


def _section(recipe: Recipe, name: str) -> object:
    """Return a section of a recipe as plain data, without those of its keys that an evaluation looks at."""
    section = recipe.dump().get(name)
    counted = [key.partition(".")[2] for key in _KEYS if key.startswith(f"{name}.")]
    return (
        {key: value for key, value in section.items() if key not in counted} if isinstance(section, dict) else section
    )


def check_sections(run: str | Path, own: Recipe, changed: Recipe, overrides: Sequence[str]) -> None:
    """Make sure that overrides change nothing that an evaluation does not look at.

    Args:
        run: the run folder, for messages.
        own: the run's recipe.
        changed: the same with the overrides.
        overrides: KEY=VALUE.

    Raises:
        UserError: one does.
    """
    for override in overrides:
        key = override.partition("=")[0]
        name = key.partition(".")[0]
        unused = any(f"{key}.".startswith(f"{each}.") for each in _UNUSED)
        if (name in _SECTIONS and not unused) or _section(own, name) == _section(changed, name):
            continue
        if name == "encoder":
            raise UserError(
                f"-s {override}: the encoder is the one that {run} holds and cannot be changed; leave it out."
            )
        raise UserError(
            f"-s {override}: has no effect on an evaluation; leave it out (evaluation, data.source, views and "
            "training.precision have one)."
        )


def check_views(recipe: str, overrides: Sequence[str], policy: ViewPolicy, split: Split) -> None:
    """Make sure that overrides of the views change what an evaluation sees.

    Args:
        recipe: the path of the run's recipe.
        overrides: KEY=VALUE, all of them.
        policy: its views, overrides applied.
        split: samples, of which the first is looked at.

    Raises:
        UserError: an override changes the augmentation only.
    """
    of_views = [override for override in overrides if override.startswith("views")]
    sample = first_sample(split) if of_views else None
    if sample is None:
        return
    seen = policy.looks([sample])
    for override in of_views:
        other = _without(recipe, overrides, override)
        if other is not None and _same(seen, build_views(other).looks([sample])):
            raise UserError(
                f"-s {override}: has no effect on an evaluation, which sees samples without augmentation; leave it out."
            )


def _without(recipe: str, overrides: Sequence[str], override: str) -> Recipe | None:
    """Return the recipe without one override; None where that changes no views, or where others need it."""
    try:
        other = load_recipe(recipe, [each for each in overrides if each != override])
    except UserError:
        return None
    return None if other.views == load_recipe(recipe, overrides).views else other


def _same(some: Sequence[View], others: Sequence[View]) -> bool:
    return [view.layout for view in some] == [view.layout for view in others] and all(
        torch.equal(a, b)
        for one, other in zip(some, others, strict=True)
        for a, b in zip(_tensors(one), _tensors(other), strict=True)
    )


def _tensors(view: View) -> list[Tensor]:
    return [view.data] if isinstance(view.data, Tensor) else list(view.data.values())
