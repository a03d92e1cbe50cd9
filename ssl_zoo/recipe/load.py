"""Finding recipes and putting them together: methods, experiments, variants, overrides.

A method is one whole YAML file, without inheritance. An experiment names a method and says what it changes: one level,
no chains. On top come the dotted overrides of the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ssl_zoo.data.given import Given, Place
from ssl_zoo.errors import UserError, explain, short, suggest
from ssl_zoo.recipe import plain_yaml
from ssl_zoo.recipe.experiment import Experiment as Experiment
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.recipe.overrides import put, split
from ssl_zoo.recipe.resolve import modality_of, resolve_all, same_options


def recipe_root() -> Path:
    """Return the folder that holds `methods/` and `experiments/`: inside the wheel, or the checkout."""
    packaged = Path(__file__).parents[1] / "_recipes"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


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
    try:
        if path.is_file():
            return path
        if path.is_dir() and (path / "recipe.yaml").is_file():
            return path / "recipe.yaml"
        if path.is_dir():
            raise UserError(f"recipe {reference}: is a folder that holds no run (no recipe.yaml in it).")
        if path.exists():
            raise UserError(f"recipe {reference}: is no regular file.")
    except OSError as error:  # such as a name that is too long
        raise UserError(f"recipe {short(reference)}: cannot be read: {error.strerror}.") from None
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"recipe {reference}: there is no such file.")
    near = suggest(reference, [*method_names(), *experiment_names()], "ssl-zoo list")
    raise UserError(f"unknown recipe {short(reference)}{near}")


def is_run_folder(reference: str) -> bool:
    """Whether a reference means a run folder, and not a method or an experiment of that name."""
    known = [*method_names(), *experiment_names()]
    return reference not in known and (Path(reference) / "recipe.yaml").is_file()


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        UserError: it cannot be read, is no YAML, or no mapping.
    """
    raw = plain_yaml.read(path, shown(path))
    if not isinstance(raw, dict):
        kind = "an empty file" if raw is None else type(raw).__name__
        raise UserError(f"{shown(path)}: a recipe is a mapping of keys to values, not {kind}.")
    return raw


def shown(path: Path) -> str:
    """Return how messages name a recipe's file: a shipped one from the folder of recipes on."""
    root = recipe_root()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def is_experiment(raw: Mapping[str, Any]) -> bool:
    """Whether a mapping is an experiment on a method, rather than a whole method."""
    return "objective" not in raw and "encoder" not in raw


def read_experiment(reference: str) -> Experiment:
    """Return an experiment by name or path.

    Raises:
        UserError: it does not exist, is a whole method, or has a wrong key.
    """
    path = recipe_path(reference)
    raw = read(path)
    if not is_experiment(raw):
        raise UserError(f"{shown(path)}: is a whole method, not an experiment on one.")
    try:
        return Experiment.model_validate(raw)
    except ValidationError as error:
        raise UserError(explain(error, shown(path), Experiment)) from None


def load_recipe(
    reference: str,
    overrides: Sequence[str] = (),
    *,
    data: Place | Given | None = None,
    seed: int | None = None,
    variant: str | None = None,
    moved: bool = False,
) -> Recipe:
    """Load, put together and validate a recipe.

    Args:
        reference: a method name, STUDY/NAME, a YAML file, or a run folder.
        overrides: dotted keys, `target.momentum=0.99`; the values are YAML.
        data: in place of the recipe's: a registered source or a path, several of these, or data sets of Python's.
        seed: in place of the recipe's.
        variant: one of the experiment's named sets of overrides.
        moved: whether `data` are those of the recipe at another place, so that the options of its source are kept.

    Raises:
        UserError: one sentence with the file, the key path and what to do.
    """
    path = recipe_path(reference)
    raw = read(path)
    if is_experiment(raw):
        raw = _put_together(reference, variant)
    elif variant is not None:
        raise UserError(f"{shown(path)}: is a whole method and has no variants; leave --variant out.")
    changes = [split(override) for override in overrides]
    of_source = [key.startswith("data.source.") for key, _ in changes]
    if data is not None:  # in place of any other source; then come the options that are turned on it
        changes.sort(key=lambda change: change[0].startswith("data.source."))
        changes.insert(of_source.count(False), ("data.source", _written(data)))
    before = _source_of(raw) if moved and data is not None else None
    for key, value in changes:
        if key.startswith("data.source."):
            _find_source(raw)
        put(raw, key, value, "-s ")
    if seed is not None:
        raw["seed"] = seed
    _find_source(raw)
    if before is not None:
        raw["data"]["source"] = same_options(before, raw["data"]["source"])
    return parse(raw, shown(path), overrides)


def with_data(recipe: Recipe | str, data: Place | Given | None, moved: bool = False) -> Recipe:
    """Return a recipe, on other data where some are given.

    Args:
        recipe: a recipe, or what `load_recipe` takes.
        data: as in `load_recipe`; None keeps the recipe's.
        moved: as in `load_recipe`.

    Raises:
        UserError: as `load_recipe`.
    """
    if isinstance(recipe, str):
        return load_recipe(recipe, data=data, moved=moved)
    if data is None:
        return recipe
    raw = recipe.dump()
    before = _source_of(raw)
    raw["data"]["source"] = _written(data)
    _find_source(raw)
    if moved and before is not None:
        raw["data"]["source"] = same_options(before, raw["data"]["source"])
    return parse(raw, "the recipe")


def _written(data: Any) -> Any:
    """Return what a recipe writes for data.

    Raises:
        UserError: they are a Python object, which only `train` and the like take.
    """
    if isinstance(data, Given):
        return data.part()
    if isinstance(data, (str, os.PathLike)):
        return os.fspath(data)
    if isinstance(data, (list, tuple)) and data and all(isinstance(each, (str, os.PathLike)) for each in data):
        return [os.fspath(each) for each in data]
    raise UserError(
        f"data: a {type(data).__name__} is no place that a recipe can name; a Python data set is given to train, "
        "evaluate, embed or finetune."
    )


def _source_of(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the source of a resolved recipe, with its options."""
    data = raw.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    return dict(source) if isinstance(source, dict) else None


def read_raw(reference: str, variant: str | None = None) -> dict[str, Any]:
    """Return a recipe as plain data, put together and not validated: its options are those that its files state.

    Args:
        reference: a method name, STUDY/NAME, or a YAML file.
        variant: of an experiment.

    Raises:
        UserError: there is no such recipe, or its files are wrong.
    """
    raw = read(recipe_path(reference))
    return _put_together(reference, variant) if is_experiment(raw) else raw


def _put_together(reference: str, variant: str | None) -> dict[str, Any]:
    experiment = read_experiment(reference)
    where = shown(recipe_path(reference))
    raw = read(recipe_path(experiment.method))
    if is_experiment(raw):
        raise UserError(f"{where}: its method {experiment.method!r} is itself an experiment; name a method.")
    for section in ("data", "training", "evaluation"):
        put(raw, section, getattr(experiment, section), f"{where}: ")
    for key, value in experiment.set.items():
        put(raw, key, value, f"{where}: set: ")
    if variant is not None:
        variants = experiment.all_variants()
        if variant not in variants:
            raise UserError(f"{where}: has no variant {variant!r}{suggest(variant, variants)}")
        for key, value in variants[variant].items():
            put(raw, key, value, f"{where}: variants.{variant}: ")
    return raw


def _find_source(raw: dict[str, Any]) -> None:
    """Let `data: PATH`, `data.source: PATH` and the paths of other data sets stand for the source that reads them."""
    if isinstance(raw.get("data"), str):
        raw["data"] = {"source": raw["data"]}
    views = raw.get("views")
    names = {member: _name(part) for member, part in views.items()} if isinstance(views, dict) else {}
    modality: str | dict[str, str] | None = None
    if isinstance(_name(views), str):
        modality = modality_of(_name(views))
    elif names and all(isinstance(name, str) for name in names.values()):  # else the validation says what is wrong
        modality = {member: modality_of(name) for member, name in names.items()}
    for section, key, where in _sources(raw) if modality else ():
        assert modality is not None
        section[key] = _resolved(section[key], modality, where)


def _sources(raw: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield (mapping, key, the dotted key in messages) of each source of a recipe, perhaps given as a text.

    They are `data.source`, and whatever `evaluation.data` and the option `data` of protocols name.
    """
    data, evaluation = raw.get("data"), raw.get("evaluation")
    if isinstance(data, dict) and "source" in data:
        yield data, "source", ""
    if not isinstance(evaluation, dict):
        return
    listed = [evaluation.get(key) for key in ("protocols", "online")]
    protocols = [part for each in listed for part in (each if isinstance(each, list) else [each])]
    for part in (evaluation, *protocols):
        sets: Any = part.get("data") if isinstance(part, dict) else None
        where = "evaluation.data" if part is evaluation else f"evaluation: protocol {_name(part)}: data"
        for name in sets if isinstance(sets, dict) else ():
            yield sets, name, f"{where}.{name}"


def _resolved(value: Any, modality: str | Mapping[str, str], where: str) -> Any:
    """Return the source that a text, or a list of them, means; others are returned as they are.

    Messages name where it is written, in place of `--data`.
    """
    try:
        return resolve_all(value, modality)
    except UserError as error:
        if not where:
            raise
        raise UserError(f"{where}: {str(error).removeprefix('--data ')}") from None


def _name(part: Any) -> Any:
    return part.get("name") if isinstance(part, dict) else part
