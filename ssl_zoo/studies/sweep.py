"""Sweeps: the same number of settings of some options for each recipe of a comparison, and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from ssl_zoo.errors import UserError
from ssl_zoo.recipe import plain_yaml
from ssl_zoo.studies.entries import Entry, split_entry


@dataclass(frozen=True)
class Trial:
    """One setting of an entry.

    Attributes:
        entry: what is tuned.
        values: {key: value} of the options that the sweep sets; empty without a sweep.
    """

    entry: Entry
    values: Mapping[str, Any]

    @property
    def overrides(self) -> tuple[str, ...]:
        """The sweep's options as overrides."""
        return tuple(f"{key}={_plain(value)}" for key, value in self.values.items())

    @property
    def label(self) -> str:
        """The values, with the last word of each key: `base_lr=0.03`."""
        return ", ".join(f"{key.rpartition('.')[2]}={_plain(value)}" for key, value in self.values.items())

    @property
    def name(self) -> str:
        """Of its row in a table of all settings."""
        return f"{self.entry.name} ({self.label})" if self.values else self.entry.name

    @property
    def folder(self) -> str:
        """The start of its run folders' names."""
        values = re.sub(r"[^\w.-]+", "-", self.label.replace("=", "-")).strip("-")
        return f"{self.entry.folder}-{values}" if values else self.entry.folder


def _plain(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return text.removesuffix("...").strip()


def trials_of(entries: Sequence[Entry], sweeps: Sequence[str]) -> dict[str, list[Trial]]:
    """Return the settings of each entry: every combination of the values of its sweeps, one without a sweep.

    Args:
        entries: of the comparison.
        sweeps: of the form KEY=V1,V2,... for all entries or NAME:KEY=V1,V2,... for one; the values are YAML.

    Raises:
        UserError: a sweep is malformed, an option does not exist, two settings are equal, or entries would get
            different numbers of settings.
    """
    axes: dict[str, dict[str, list[Any]]] = {entry.name: {} for entry in entries}
    for text in sweeps:
        name, rest = split_entry(text, entries, "--sweep")
        key, values = _values(rest, text)
        for each in axes if name is None else [name]:
            axes[each][key] = values
    trials = {
        entry.name: [
            Trial(entry, dict(zip(axes[entry.name], values, strict=True)))
            for values in product(*axes[entry.name].values())
        ]
        for entry in entries
    }
    counts = {name: len(each) for name, each in trials.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {num}" for name, num in counts.items())
        raise UserError(f"--sweep: the recipes would get different numbers of settings ({shown}); give each as many.")
    _check(trials)
    return trials


def _values(rest: str, text: str) -> tuple[str, list[Any]]:
    """Return the key and the values of a sweep.

    Raises:
        UserError: it is malformed.
    """
    key, equals, listed = rest.partition("=")
    try:
        values = plain_yaml.load(f"[{listed}]") if equals and all(key.split(".")) else []
    except yaml.YAMLError as error:
        raise UserError(f"--sweep {text}: the values are not valid YAML: {plain_yaml.reason(error)}.") from None
    if not isinstance(values, list) or not values:
        raise UserError(
            f"--sweep {text}: a sweep is written KEY=VALUE,VALUE,..., for example --sweep training.base_lr=0.01,0.1."
        )
    return key, values


def _check(trials: Mapping[str, Sequence[Trial]]) -> None:
    """Make sure that all settings load and differ.

    Raises:
        UserError: they do not.
    """
    seen: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for trial in (trial for each in trials.values() for trial in each):
        recipe = trial.entry.load(0, trial.overrides).dump()
        for other, its in seen.get(trial.entry.name, []):
            if its == recipe:
                raise UserError(f"--sweep: {trial.name} and {other} are the same setting.")
        seen.setdefault(trial.entry.name, []).append((trial.name, recipe))


def unique_folders(trials: Sequence[Trial]) -> list[str]:
    """Return the start of the run folders' names of some settings: that of each, with a number where it is taken."""
    found: list[str] = []
    for trial in trials:
        name, num = trial.folder, 2
        while name in found:
            name, num = f"{trial.folder}-{num}", num + 1
        found.append(name)
    return found
