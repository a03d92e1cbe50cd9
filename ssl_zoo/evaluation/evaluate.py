"""Evaluation of a frozen encoder by a recipe's protocols: at the end of a run, and by `ssl-zoo eval`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec
from ssl_zoo.data.given import Given, Place, objects, take
from ssl_zoo.data.open import OpenData
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.augmented import AugmentedViews
from ssl_zoo.evaluation.baselines import KeptBaselines
from ssl_zoo.evaluation.contract import protocol_class
from ssl_zoo.evaluation.labels import Division, Labels, divide, labels_of, learnt
from ssl_zoo.evaluation.labels import notes as label_notes
from ssl_zoo.evaluation.overrides import check_sections, check_views
from ssl_zoo.evaluation.protocol_lists import Results, check_labels, keyed, protocol_notes, usable
from ssl_zoo.evaluation.report_data import Keeper
from ssl_zoo.evaluation.representations import compare_representations
from ssl_zoo.evaluation.seen import OF_ANYTHING, EvaluationData, lacking
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.evaluation.verdict import Verdict, verdict_on
from ssl_zoo.hardware import choose
from ssl_zoo.methods.build import build_encoder, build_views, open_recipe_data
from ssl_zoo.methods.contract import try_encoder, views_of, without_memory
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.part import Part
from ssl_zoo.runs.at_step import encoder_folder
from ssl_zoo.runs.card import read_card
from ssl_zoo.runs.encoder import read_encoder
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.runs.imports import check_imported

Log = Callable[[str], None]


def silent(line: str) -> None:
    """Log nothing."""


def measure(
    recipe: Recipe,
    encoder: nn.Module,
    policy: ViewPolicy,
    data: OpenData,
    device: torch.device,
    insist: bool = False,
    log: Log = silent,
    keeper: Keeper | None = None,
    baselines: Path | None = None,
) -> dict[str, Results]:
    """Return `{"encoder" | "untrained" | "raw": {protocol: {metric: value}}}` of an encoder, by a recipe.

    Encoders compute in bfloat16 where training does. Without protocols nothing is read.

    Args:
        recipe: its protocols, its limit, and the untrained encoder are used.
        encoder: what is measured, on `device`.
        policy: its looks at samples are measured.
        data: both splits.
        device: where encoders and protocols run.
        insist: whether protocols that the data do not allow, and features that are not finite, are an error; else what
            cannot be measured is left out.
        log: gets each of `notes`, and a sentence for whatever is left out.
        keeper: keeps what a report shows.
        baselines: folder in which the numbers of baselines are kept for other runs, see `KeptBaselines`.

    Raises:
        UserError: with `insist`, as above.
    """
    protocols = _protocols(recipe)
    division = _divided(recipe, data)
    if insist:
        check_labels(protocols, division.reason)
    for line in notes(recipe, data):
        log(line)
    missing = {} if insist else not_offered(recipe)
    kept = [(name, options) for name, options in usable(protocols, not division.reason) if name not in missing]
    half = choose(recipe.training.precision, for_training=False).precision == "bf16"
    untrained = build_encoder(recipe).to(device) if recipe.evaluation.baselines and kept else None
    samples = EvaluationData(policy, data.modality, data.train, data.test, device, recipe.evaluation.limit, half)
    keep = KeptBaselines(baselines, recipe, samples) if baselines is not None and not insist else None
    return compare_representations(encoder, untrained, samples, kept, log, insist, keeper, keep)


def _protocols(recipe: Recipe) -> list[tuple[str, dict[str, Any]]]:
    return [(part.name, part.options) for part in recipe.evaluation.protocols]


def _labels(recipe: Recipe, data: OpenData) -> Labels:
    return labels_of(data.train, data.test, recipe.evaluation.limit)


def _divided(recipe: Recipe, data: OpenData) -> Division:
    labels = _labels(recipe, data)
    return divide(labels.train, labels.test)


def left_out(recipe: Recipe, data: OpenData) -> list[str]:
    """Return the names of the recipe's protocols that `measure` leaves out because of the labels."""
    missing = bool(_divided(recipe, data).reason)
    return [part.name for part in recipe.evaluation.protocols if missing and protocol_class(part.name).needs_labels]


def tested(recipe: Recipe, data: OpenData) -> dict[str, int]:
    """Return the number of test samples of each protocol that `measure` runs, by its key without a member.

    Samples that cannot be read are counted.
    """
    labels = _labels(recipe, data)
    division = divide(labels.train, labels.test)
    test = labels.train if labels.test is None else labels.test
    known, labelled = len(division.test[1]), int((test >= 0).sum())
    held_out = labels.test is None and not division.reason
    found = {}
    for key, name, _ in keyed(_protocols(recipe)):
        kind = protocol_class(name)
        if kind.needs_labels:
            found[key] = known if kind.needs_train or not labelled else labelled
        else:
            found[key] = known if held_out else len(test)
    return {key: num for key, num in found.items() if num}


def not_offered(recipe: Recipe) -> dict[str, str]:
    """Return `{protocol: why}` of the recipe's protocols for which its encoder does not have what they see."""
    sees = {name: protocol_class(name).sees for name, _ in _protocols(recipe)}
    if all(kind in OF_ANYTHING for kind in sees.values()):
        return {}
    encoder = without_memory(lambda: build_encoder(recipe))
    return {name: reason for name, kind in sees.items() if (reason := lacking(encoder, kind))}


def notes(recipe: Recipe, data: OpenData) -> list[str]:
    """Return sentences for the user about an evaluation, known before it runs; none where all is as usual.

    They are on protocols that the encoder or the labels do not allow, and why; samples without a label; the test, where
    there is no labelled test split; classes of the test that train lacks; and whatever a protocol has to note
    (`few_shot`: classes with fewer labels than it asks for).
    """
    protocols, labels = _protocols(recipe), _labels(recipe, data)
    missing = [f"without {name}: {reason}" for name, reason in not_offered(recipe).items()]
    if not any(protocol_class(name).needs_labels for name, _ in protocols):
        return missing
    division = divide(labels.train, labels.test)
    if division.reason:
        return [*missing, f"without {', '.join(left_out(recipe, data))}: labels are needed and {division.reason}"]
    return [*missing, *label_notes(labels), *protocol_notes(protocols, learnt(labels, division), labels)]


def evaluate(
    run: str | Path,
    protocols: Sequence[str] = (),
    *,
    data: Any = None,
    test: Any = None,
    overrides: Sequence[str] = (),
    log: Log = print,
) -> dict[str, Results]:
    """Measure a run's encoder by named protocols, with raw input and the untrained encoder as baselines.

    Args:
        run: a run folder; of one that has not finished, the encoder of its last checkpoint is measured. `RUN@stepN`,
            `RUN@best` and `RUN@last` name a checkpoint.
        protocols: names; empty takes the recipe's.
        data: other data than the run's: a registered source or a path, several of these, or a data set as a Python
            object, see `ssl_zoo.data.given.take`. A run on Python data has to be given them again.
        test: a data set to measure on, beside one in `data`.
        overrides: dotted keys on the run's recipe, such as `evaluation.protocols.knn.k=20`.
        log: prints a line for the user: each of `notes`, and what was left out.

    Returns:
        `{"encoder" | "untrained" | "raw": {protocol: {metric: value}}}`.

    Raises:
        UserError: no such run, protocol or data; a protocol that needs labels where there are none, or no protocol at
            all; an override that would have no effect; an encoder that does not take the samples.
    """
    return evaluate_and_judge(run, protocols, data=data, test=test, overrides=overrides, log=log)[0]


def evaluate_and_judge(
    run: str | Path,
    protocols: Sequence[str] = (),
    *,
    data: Any = None,
    test: Any = None,
    overrides: Sequence[str] = (),
    log: Log = print,
) -> tuple[dict[str, Results], Verdict]:
    """Return what `evaluate` returns, and the verdict on it, with what the guard said of the run.

    Raises:
        UserError: as `evaluate`.
    """
    run = encoder_folder(run, log)
    folder, given = RunFolder(run), take(data, test)
    recipe = _recipe_of(folder, protocols, given, overrides)
    encoder = read_encoder(run)
    policy = build_views(recipe)
    check_input(read_card(folder.card).spec, policy.spec, encoder, recipe.encoder.name)
    device = choose(for_training=False).device
    opened = open_recipe_data(recipe, policy.spec, objects(given))
    if all(protocol_class(name).sees not in (AugmentedViews, Subject) for name, _ in _protocols(recipe)):
        check_views(str(folder.recipe), overrides, policy, opened.train)
    if _divided(recipe, opened).reason and len(left_out(recipe, opened)) == len(recipe.evaluation.protocols):
        check_labels(_protocols(recipe), _divided(recipe, opened).reason)  # nothing is left: an error
    results = measure(recipe, encoder.to(device), policy, opened, device, insist=bool(protocols), log=log)
    before = folder.read_summary() if folder.summary.is_file() else {}
    baselines = {name: each for name, each in results.items() if name != "encoder"}
    found = {"metrics": results["encoder"], "baselines": baselines, "tested": tested(recipe, opened)}
    return results, verdict_on([{**before, **found}], recipe.dump())


def check_input(built_for: InputSpec, spec: InputSpec, encoder: nn.Module, name: str) -> None:
    """Make sure that an encoder takes the plain samples of views.

    Args:
        built_for: the views that it was built for.
        spec: the views.
        encoder: it stays as it is.
        name: of the encoder, for messages.

    Raises:
        UserError: it does not, or would take one number of a token for another's.
    """
    for member, each in spec.each.items():
        own = built_for.each.get(member)
        if own is not None and own.vocabulary != each.vocabulary:
            raise UserError(
                f"the views make {each.vocabulary} different values and the encoder was built for {own.vocabulary}; "
                "leave out the override that changes them."
            )
    sizes, own_sizes = (_sizes(each) for each in (spec, built_for))
    hint = "" if sizes == own_sizes else f"; it was built for views of {' and '.join(own_sizes.values())}"
    plain = {view.modality: view for view in reversed(views_of(spec))}
    try_encoder(encoder, name, [plain[member] for member in spec.each], hint)


def _sizes(spec: InputSpec) -> dict[str, str]:
    """Return the size of a plain sample of each member."""
    return {member: "x".join(map(str, each.sides or each.views[0].shape)) for member, each in spec.each.items()}


def recipe_of(folder: RunFolder, data: Place | Given | None, overrides: Sequence[str]) -> Recipe:
    """Return the recipe of a run, with other data and with overrides that its encoder allows.

    Raises:
        UserError: no such run, or an override that would have no effect.
    """
    run, path = folder.path, str(folder.recipe)
    if not folder.recipe.is_file():
        raise UserError(f"{run}: holds no run (no recipe.yaml in it).")
    check_imported(run)
    recipe = load_recipe(path, overrides, data=data)
    check_sections(run, load_recipe(path), recipe, overrides)
    return recipe


def _recipe_of(
    folder: RunFolder, protocols: Sequence[str], data: Place | Given | None, overrides: Sequence[str]
) -> Recipe:
    """Return the recipe of a run with what an evaluation changes in it; see `evaluate`."""
    recipe = with_protocols(recipe_of(folder, data, overrides), protocols)
    if not recipe.evaluation.protocols:
        raise UserError(f"{folder.path}: its recipe names no protocol; name one, such as --protocol knn.")
    return recipe


def with_protocols(recipe: Recipe, protocols: Sequence[str]) -> Recipe:
    """Return a recipe with the named protocols, at its options where it has them; with its own where none is named.

    Raises:
        UserError: no such protocol.
    """
    if not protocols:
        return recipe
    own = {part.name: part for part in recipe.evaluation.protocols}
    chosen = [own.get(name) or Part(name=name, options=registry.check("protocol", name, {})) for name in protocols]
    evaluation = recipe.evaluation.model_copy(update={"protocols": tuple(chosen)})
    return recipe.model_copy(update={"evaluation": evaluation})
