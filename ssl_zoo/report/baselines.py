"""Baselines that runs share: the raw input depends on the data and the size, the untrained encoder on more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from ssl_zoo.report.table import NAMES
from ssl_zoo.runs.folder import RunFolder

if TYPE_CHECKING:
    from ssl_zoo.report.aggregate import Group

_AUGMENTATION = frozenset((
    "name", "num_views", "num_local", "local_size", "transform", "scale", "local_scale", "ratio", "flip",
    "jitter", "brightness", "contrast", "saturation", "hue", "colour", "grey", "blur", "sigma", "solarise", "threshold",
    "drop_channels", "within", "excerpts", "gain", "mixup", "background", "bank", "frequency_scale", "time_scale",
    "boundary", "fader", "distinct", "drop", "mask", "move",
))  # fmt: skip
"""Options of views that do not affect samples without augmentation. Any other one may: baselines that differ in it have
rows of their own, since a row too many does less harm than a wrong mean."""

_MEASURED = ("protocols", "limit")
"""Keys of `evaluation` that the numbers of a baseline depend on."""

_NAMED = 3
"""The most groups that a name lists."""


def _depends_on(group: Group, name: str) -> str:
    """Return a key of everything that a group's baseline depends on, except the seed."""
    path = RunFolder(group.runs[0]).recipe if group.runs else None
    if path is None or not path.is_file():
        return json.dumps([(s.get("data") or {}).get("source") for s in group.summaries[:1]])
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    data, views = recipe["data"], recipe["views"]
    found = [data["source"], data.get("decode"), _plain(views), [recipe["evaluation"].get(key) for key in _MEASURED]]
    if name == "untrained":
        found.append(recipe["encoder"])
        if "name" not in views:  # samples that are mappings: their members are compared by what is built on the encoder
            found += [recipe.get("projector"), recipe.get("predictor")]
    return json.dumps(found)


def _plain(views: Mapping[str, Any]) -> dict[str, Any]:
    """Return what samples without augmentation depend on: options of views, or those of the views of each member."""
    if "name" not in views:
        return {member: _plain(each) for member, each in views.items()}
    return {key: value for key, value in sorted(views.items()) if key not in _AUGMENTATION}


def _by_seed(groups: Sequence[Group], name: str) -> list[Mapping[str, Any]]:
    """Return the results of a baseline, once per seed."""
    found: dict[Any, Mapping[str, Any]] = {}
    for group in groups:
        for i, (summary, results) in enumerate(zip(group.summaries, group.results(name), strict=True)):
            if results:
                found.setdefault(summary.get("seed", f"run {i}"), results)
    return list(found.values())


def _some(names: Sequence[str]) -> str:
    """Return up to three names, or the first one and the number of the others."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{names[0]} and {len(names) - 1} more"


def baseline_rows(groups: Sequence[Group]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return (name, results, one mapping per seed) of each baseline that the runs have.

    Groups whose baseline depends on the same (data, size and normalisation, protocols; encoder) share a row. Where
    there are several rows, their names list their groups.
    """
    rows = []
    for name in ("raw", "untrained"):
        shared: dict[str, list[Group]] = {}
        for group in groups:
            if any(group.results(name)):
                shared.setdefault(_depends_on(group, name), []).append(group)
        most = max(map(len, shared.values()), default=0)
        others = [each for each in shared.values() if len(each) == most > _NAMED]
        for each in shared.values():
            rest = len(others) == 1 and each is others[0]
            whose = "the others" if rest else _some([group.name for group in each])
            rows.append((NAMES[name] + (f" of {whose}" if len(shared) > 1 else ""), _by_seed(each, name)))
    return rows
