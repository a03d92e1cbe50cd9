"""Experiment: the shape of an experiment file, its variants and its scales."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

BASE = "base"
"""The name of the experiment without a variant."""

Overrides = dict[str, Any]


class Scale(BaseModel):
    """Another size of the whole experiment, such as one for two CPU cores.

    `set` are overrides for the base and for all its variants, which come after them. `variants` are those of this size,
    in place of the experiment's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    set: Overrides = {}
    variants: dict[str, Overrides] | None = None


class Experiment(BaseModel):
    """An experiment file: a method, what it changes, and how the study runs it.

    `variants` are named sets of overrides. `grid` has axes of such sets; every combination of one set an axis is a
    variant too, called by their names joined with dots. `scales` are other sizes: the scale `small` makes a variant
    `small` of the base and a variant `small.NAME` of every variant NAME.

    `expect` says, for `base` and for variants, what the runs must show (see `ssl_zoo.report.expectations` and
    `ssl_zoo.report.relations`), and `paper` what the paper reports of them; what is said of NAME is said of it at every
    scale, unless something is said of SCALE.NAME (of SCALE, for the base). `notes` is a paragraph for the results.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str
    set: Overrides = {}
    data: str | dict[str, Any] = {}
    training: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    variants: dict[str, Overrides] = {}
    grid: dict[str, dict[str, Overrides]] = {}
    scales: dict[str, Scale] = {}
    expect: dict[str, tuple[str, ...]] = {}
    paper: dict[str, str] = {}
    notes: str = ""

    @model_validator(mode="after")
    def _names_are_its_own(self) -> Experiment:
        own = [BASE, *self.variants, *_combined(self.grid)]
        for name in self.scales:
            if name in own or any(variant.startswith(f"{name}.") for variant in own):
                raise ValueError(f"scales: {name!r} is a variant already; choose another name")
        short = {*own, *(variant for scale in self.scales.values() for variant in scale.variants or ())}
        for section, said in (("expect", self.expect), ("paper", self.paper)):
            for name in said:
                if name not in short and name not in self.all_variants():
                    raise ValueError(f"{section}: there is no variant {name!r}")
        return self

    def all_variants(self) -> dict[str, Overrides]:
        """Return the variants, every combination of the grid, and all of them at each scale, as {name: overrides}."""
        own = {**self.variants, **_combined(self.grid)}
        found = dict(own)
        for name, scale in self.scales.items():
            found[name] = scale.set
            variants = own if scale.variants is None else scale.variants
            found |= {f"{name}.{variant}": {**scale.set, **changes} for variant, changes in variants.items()}
        return found

    def chosen(self, variant: str | None) -> list[str]:
        """Return the settings that a name means: of a scale all, of None those that belong to no scale.

        Of a grid they are its cells, without the base.
        """
        every = [BASE, *self.all_variants()]
        if variant is None:
            found = [name for name in every if self.scale_of(name) is None]
        elif variant in self.scales:
            found = [name for name in every if self.scale_of(name) == variant]
        else:
            return [variant] if variant in every else []
        return found[1:] if self.grid else found

    def scale_of(self, variant: str) -> str | None:
        """Return the scale that a variant is at, or None."""
        return next((name for name in self.scales if variant == name or variant.startswith(f"{name}.")), None)

    def peers(self, variant: str) -> dict[str, str]:
        """Return the settings at the same scale, as {name without the scale: name}."""
        scale = self.scale_of(variant)
        every = [name for name in (BASE, *self.all_variants()) if self.scale_of(name) == scale]
        return {self._short(name): name for name in every}

    def expected(self, variant: str) -> tuple[str, ...]:
        """Return what the runs of a variant must show."""
        return self._said(self.expect, variant, ())

    def reported(self, variant: str) -> str:
        """Return what the paper reports of a variant; empty where it says nothing."""
        return self._said(self.paper, variant, "")

    def _said(self, section: Mapping[str, Any], variant: str, default: Any) -> Any:
        return section.get(variant, section.get(self._short(variant), default))

    def _short(self, variant: str) -> str:
        scale = self.scale_of(variant)
        if scale is None:
            return variant
        return BASE if variant == scale else variant.removeprefix(f"{scale}.")


def _combined(grid: Mapping[str, Mapping[str, Overrides]]) -> dict[str, Overrides]:
    """Return every combination of one set an axis, by their names joined with dots."""
    cells = product(*(axis.items() for axis in grid.values())) if grid else ()
    return {
        ".".join(name for name, _ in cell): {k: v for _, changes in cell for k, v in changes.items()} for cell in cells
    }
