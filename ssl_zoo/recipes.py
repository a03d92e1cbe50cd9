"""Finding recipes and putting them together: methods, experiments, variants, overrides.

A method is one whole YAML file, without inheritance. An experiment names a method and says what it changes: one level,
no chains. On top come the dotted overrides of the command line.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssl_zoo.errors import UserError, suggest
from ssl_zoo.recipe import Recipe, explain, parse

PART_PATHS = (
    "encoder", "projector", "predictor", "target", "pairing", "views", "data.source",
    "training.optimizer", "training.schedule",
)  # fmt: skip
"""The keys whose value is one part; naming another part there replaces it whole."""
LIST_PATHS = ("objective", "evaluation.protocols")
"""The keys whose value is a list of parts."""


class Experiment(BaseModel):
    """An experiment file: a method, what it changes, and how the study runs it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str
    set: dict[str, Any] = {}
    data: Any = {}
    training: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    variants: dict[str, dict[str, Any]] = {}
    expect: dict[str, Any] = {}


def recipe_root() -> Path:
    """Return the folder that holds `methods/` and `experiments/`: inside the wheel, or the checkout."""
    packaged = Path(__file__).parent / "_recipes"
    return packaged if packaged.is_dir() else Path(__file__).parents[1]


def method_names() -> list[str]:
    """Return the names of all shipped methods."""
    return sorted(path.stem for path in (recipe_root() / "methods").glob("*.yaml"))


def experiment_names(study: str = "*") -> list[str]:
    """Return the names of all shipped experiments (of one study), as STUDY/NAME."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in (recipe_root() / "experiments").glob(f"{study}/*.yaml"))


def recipe_path(reference: str) -> Path:
    """Return the file of a method name, of STUDY/NAME, or of a path.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    root = recipe_root()
    if reference in method_names():
        return root / "methods" / f"{reference}.yaml"
    if reference in experiment_names():
        return root / "experiments" / f"{reference}.yaml"
    path = Path(reference)
    if path.is_file():
        return path
    if path.is_dir() and (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"recipe {reference}: there is no such file.")
    raise UserError(f"unknown recipe {reference!r}{suggest(reference, [*method_names(), *experiment_names()])}")


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        UserError: it is no YAML, or no mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path.name}: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path.name}: a recipe is a mapping of keys to values, not {type(raw).__name__}.")
    return raw


def is_experiment(raw: Mapping[str, Any]) -> bool:
    """Whether a mapping is an experiment on a method, rather than a whole method."""
    return "objective" not in raw and "encoder" not in raw


def read_experiment(reference: str) -> Experiment:
    """Return an experiment by name or path.

    Raises:
        UserError: it does not exist, is a whole method, or has a wrong key.
    """
    path = recipe_path(reference)
    try:
        return Experiment(**read(path))
    except ValidationError as error:
        raise UserError(explain(error, path.name, Experiment)) from None


def load_recipe(
    reference: str,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seed: int | None = None,
    variant: str | None = None,
) -> Recipe:
    """Load, put together and validate a recipe.

    Args:
        reference: a method name, STUDY/NAME, a YAML file, or a run folder.
        overrides: dotted keys, `target.momentum=0.99`; the values are YAML.
        data: a registered source or a path, in place of the recipe's.
        seed: in place of the recipe's.
        variant: one of the experiment's named sets of overrides.

    Raises:
        UserError: one sentence with the file, the key path and what to do.
    """
    path = recipe_path(reference)
    raw = read(path)
    if is_experiment(raw):
        raw = _put_together(reference, variant)
    elif variant is not None:
        raise UserError(f"{path.name}: is a whole method and has no variants; leave --variant out.")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"-s {override}: an override is written KEY=VALUE, for example -s training.batch_size=256.")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            message = f"-s {override}: the value is not valid YAML (quote lists and mappings for the shell)."
            raise UserError(message) from None
        put(raw, key, parsed)
    if data is not None:
        put(raw, "data.source", data)
    if seed is not None:
        raw["seed"] = seed
    _find_source(raw)
    return parse(raw, path.name)


def _put_together(reference: str, variant: str | None) -> dict[str, Any]:
    experiment = read_experiment(reference)
    base = recipe_path(experiment.method)
    raw = read(base)
    if is_experiment(raw):
        raise UserError(f"{reference}: its method {experiment.method!r} is itself an experiment; name a method.")
    for section in ("data", "training", "evaluation"):
        changes = getattr(experiment, section)
        changes = {"source": changes} if isinstance(changes, str) else changes
        for key, value in changes.items():
            put(raw, f"{section}.{key}", value)
    for key, value in experiment.set.items():
        put(raw, key, value)
    if variant is not None:
        if variant not in experiment.variants:
            raise UserError(f"{reference}: has no variant {variant!r}{suggest(variant, experiment.variants)}")
        for key, value in experiment.variants[variant].items():
            put(raw, key, value)
    return raw


def put(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in place: a part's name puts that part in at its defaults, a knob is turned where it is.

    Raises:
        UserError: the path leads through something that has no keys.
    """
    node: Any = raw
    steps = key.split(".")
    for depth, step in enumerate(steps[:-1]):
        here = ".".join(steps[: depth + 1])
        child = _child(node, step, here)
        if isinstance(child, str) and (here in PART_PATHS or isinstance(node, list)):
            child = {"name": child}
            node[_index(node, step, here) if isinstance(node, list) else step] = child
        elif here in LIST_PATHS and not isinstance(child, list):
            child = node[step] = [child]
        elif child is None:
            child = node[step] = {}
        if not isinstance(child, (dict, list)):
            raise UserError(f"-s {key}: {here} is {child!r} and has no keys.")
        node = child
    if isinstance(node, list):
        node[_index(node, steps[-1], key)] = copy.deepcopy(value)
    elif key in PART_PATHS and isinstance(value, dict) and "name" not in value:
        for knob, setting in value.items():
            put(raw, f"{key}.{knob}", setting)
    else:
        node[steps[-1]] = copy.deepcopy(value)


def _child(node: Any, step: str, here: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, step, here)]
    return node.get(step)


def _index(items: list[Any], step: str, here: str) -> int:
    """Return the position of a list item, given its number or its part's name."""
    labels = [item if isinstance(item, str) else item.get("name", "") for item in items]
    if step.isdigit() and int(step) < len(items):
        return int(step)
    if step in labels:
        return labels.index(step)
    raise UserError(f"-s {here}: the list has no item {step!r}{suggest(step, labels)}")


def _find_source(raw: dict[str, Any]) -> None:
    """Let `data: PATH` and `data.source: PATH` stand for the source that reads such a path."""
    if isinstance(raw.get("data"), str):
        raw["data"] = {"source": raw["data"]}
    data = raw.get("data")
    if isinstance(data, dict) and isinstance(data.get("source"), str):
        from ssl_zoo.data import resolve

        data["source"] = resolve(data["source"])
