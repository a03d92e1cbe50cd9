"""Evaluation during a training: the recipe's online protocols on its named data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from ssl_zoo.data.open import OpenData
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.evaluate import left_out, measure, not_offered, notes
from ssl_zoo.evaluation.features import first_sample
from ssl_zoo.evaluation.protocol_lists import Results
from ssl_zoo.methods.build import open_recipe_data
from ssl_zoo.recipe.model import Recipe

OWN = "own"
"""The name of the run's own data, where `evaluation.data` names none."""

Log = Callable[[str], None]
Sets = Mapping[str, OpenData]


def of_online(recipe: Recipe) -> Recipe:
    """Return a recipe whose evaluation is the one in training: the protocols `online`, without baselines."""
    changes = {"protocols": recipe.evaluation.online, "baselines": False}
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update=changes)})


def open_sets(recipe: Recipe, policy: ViewPolicy, own: OpenData) -> dict[str, OpenData]:
    """Open the data sets of an evaluation in training.

    Args:
        recipe: its `evaluation.data` names them; they are read as `data` says.
        policy: its views.
        own: the run's data, which is not opened twice.

    Returns:
        {name: data}; empty without `evaluation.every`.

    Raises:
        UserError: data that cannot be read, or no data set that allows any of the protocols.
    """
    if recipe.evaluation.every is None:
        return {}
    sets: dict[str, OpenData] = {}
    for name, source in recipe.evaluation.data.items():
        if source == recipe.data.source:
            sets[name] = own
            continue
        data = recipe.data.model_copy(update={"source": source})
        try:
            sets[name] = open_recipe_data(recipe.model_copy(update={"data": data}), policy.spec)
            if (sample := first_sample(sets[name].train)) is not None:
                policy.looks([sample])
        except UserError as error:
            raise type(error)(f"evaluation.data.{name}: {error}") from error
    sets = sets or {OWN: own}
    _check_any(of_online(recipe), sets)
    return sets


def _check_any(recipe: Recipe, sets: Sets) -> None:
    """Make sure that there is something to measure.

    Raises:
        UserError: no data set, and not the encoder, allows any of the protocols.
    """
    names = [part.name for part in recipe.evaluation.protocols]
    missing = not_offered(recipe)
    if not any(set(names) - set(missing) - set(left_out(recipe, data)) for data in sets.values()):
        raise UserError(
            f"evaluation.every: nothing can be measured in training: {', '.join(names)} needs labels, or an encoder, "
            "that are not there; name a protocol that needs none (evaluation.online=[label_free]), or data with labels "
            "(evaluation.data.NAME=PATH)."
        )


def notes_online(recipe: Recipe, sets: Sets) -> list[str]:
    """Return sentences for the user about each data set, known before a run; see `evaluate.notes`."""
    return [f"{name}: {line}" for name, data in sets.items() for line in notes(of_online(recipe), data)]


def measure_online(
    recipe: Recipe,
    encoder: nn.Module,
    policy: ViewPolicy,
    sets: Sets,
    device: torch.device,
    log: Log,
) -> Results:
    """Return `{"DATA_SET/PROTOCOL": {metric: value}}` of an encoder in training, which stays as it is.

    The numbers are those of `measure` at the end of a run. Buffers, training modes and the global random numbers are
    what they were before.

    Args:
        recipe: its online protocols and its limit are used.
        encoder: what is measured, on `device`.
        policy: its looks at samples are measured.
        sets: the data sets by name.
        device: where encoder and protocols run.
        log: gets sentences on whatever is left out.
    """
    found: Results = {}
    online = of_online(recipe)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for name, data in sets.items():

            def tell(line: str, name: str = name) -> None:
                log(f"{name}: {line}")

            results = measure(online, encoder, policy, data, device, log=tell)["encoder"]
            found |= {f"{name}/{key}": metrics for key, metrics in results.items()}
    return found
