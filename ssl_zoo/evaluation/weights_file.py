"""Evaluation of weights that no run has made: an encoder by name, and a file of torchvision, timm, or an author."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ssl_zoo.data.given import Given, Place, objects, take
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.evaluate import Log, left_out, measure, tested, with_protocols
from ssl_zoo.evaluation.labels import divide, labels_of
from ssl_zoo.evaluation.protocol_lists import Results, check_labels
from ssl_zoo.evaluation.verdict import Verdict, verdict_on
from ssl_zoo.hardware import choose
from ssl_zoo.methods.build import build_encoder, build_views, open_recipe_data
from ssl_zoo.methods.contract import without_memory
from ssl_zoo.methods.first_weights import differences, put_weights, read_as, report_of
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.overrides import split
from ssl_zoo.recipe.part import PerMember
from ssl_zoo.runs.weights import read_weights

BASE = "simsiam"
"""The recipe whose views, data settings and protocols are used; its method has no part in an evaluation."""


def evaluate_weights(
    encoder: str,
    weights: str | Path,
    protocols: Sequence[str] = (),
    *,
    data: Any,
    overrides: Sequence[str] = (),
    log: Log = print,
) -> tuple[dict[str, Results], Verdict]:
    """Measure an encoder with the weights of a file, next to the raw input and the same encoder untrained.

    Args:
        encoder: a registered name, such as `resnet50` or `timm/vit_small_patch16_224.dino`; or YAML with options, such
            as `{name: resnet18, stem: small}`.
        weights: `.safetensors`, or a file of `torch.save`, see `ssl_zoo.methods.key_rules` for whose. It has to hold
            all weights of the encoder: features of half an encoder are no one's.
        protocols: names; empty takes the default ones.
        data: the samples: a path, several, or a Python data set, as `ssl_zoo.train` takes them.
        overrides: dotted keys, such as `views.size=96` or `views.mean=[0.5,0.5,0.5]`. Where they give none, images have
            the size, mean and standard deviation that the encoder states as those of its published weights, else those
            of the view policy; the log says which.
        log: prints a line for the user.

    Returns:
        `{"encoder" | "untrained" | "raw": {protocol: {metric: value}}}`, and the verdict on it.

    Raises:
        UserError: no such encoder, file or data; weights that are not all of the encoder; as `evaluate`.
    """
    given = take(data)
    recipe = with_protocols(_recipe(encoder, given, overrides, log), protocols)
    policy = build_views(recipe)
    module = build_encoder(recipe, policy.spec)
    take_all(module, read_weights(Path(weights)), f"--weights {weights}", log)
    device = choose(for_training=False).device
    opened = open_recipe_data(recipe, policy.spec, objects(given))
    missing = left_out(recipe, opened)
    if missing and len(missing) == len(recipe.evaluation.protocols):
        labels = labels_of(opened.train, opened.test, recipe.evaluation.limit)
        named = [(part.name, part.options) for part in recipe.evaluation.protocols]
        check_labels(named, divide(labels.train, labels.test).reason)
    results = measure(recipe, module.to(device), policy, opened, device, insist=bool(protocols), log=log)
    baselines = {name: each for name, each in results.items() if name != "encoder"}
    found = {"metrics": results["encoder"], "baselines": baselines, "tested": tested(recipe, opened)}
    return results, verdict_on([found], {})


def take_all(module: nn.Module, weights: Mapping[str, Tensor], where: str, log: Log) -> None:
    """Copy the weights of a file into an encoder, all of them.

    Args:
        module: the encoder.
        weights: of the file, by its names.
        where: the file, for messages.
        log: gets what matched.

    Raises:
        UserError: the file does not hold all of the encoder's weights at its shapes.
    """
    put_weights(module, weights, "encoder", where)
    named, own = read_as(module, weights, "encoder").weights, module.state_dict()
    other = differences(named, own)
    absent = [name for name, value in own.items() if name not in named and value.ndim > 0]
    if other or absent:
        what = [f"{len(other)} of another shape ({'; '.join(other[:3])})"] if other else []
        what += [f"{len(absent)} not in it ({', '.join(absent[:3])})"] if absent else []
        raise UserError(
            f"{where}: does not hold all {len(own)} tensors of this encoder: {' and '.join(what)}; choose the encoder, "
            "its options and views.size that the file is of, or start a training from it with --init-from."
        )
    for line in report_of(module, weights, "encoder", where):
        log(line)


def _recipe(encoder: str, data: Place | Given | None, overrides: Sequence[str], log: Log) -> Recipe:
    """Return the recipe of the evaluation: with the views that the encoder states, unless they are given."""
    given = [split(override)[0] for override in overrides]
    changes = [f"encoder={encoder}", *overrides]
    recipe = load_recipe(BASE, changes, data=data)
    if isinstance(recipe.views, PerMember):
        raise UserError("--encoder: weights are evaluated on samples of one modality.")
    usual: dict[str, Any] = {}
    if "views" not in given:
        outline: Any = without_memory(lambda: build_encoder(recipe))
        usual = dict(getattr(outline, "usual_input", {}))
    stated = [f"views.{key}={value}" for key, value in usual.items() if f"views.{key}" not in given]
    if stated:
        recipe = load_recipe(BASE, [f"encoder={encoder}", *stated, *overrides], data=data)
    log(_said(build_views(recipe), recipe.encoder.name, bool(stated), given))
    return recipe


def _said(policy: ViewPolicy, name: str, stated: bool, given: Sequence[str]) -> str:
    """Return what samples are like, and where that is from."""
    spec = policy.spec
    sizes = "x".join(map(str, spec.sides))
    numbers = "" if spec.mean is None else f", mean {_listed(spec.mean)}, std {_listed(spec.std or ())}"
    chosen = [key for key in given if key == "views" or key.startswith("views.")]
    source = (
        f"what {name} states for its published weights" if stated else f"the defaults of the views, {name} states none"
    )
    if chosen:
        source = f"{', '.join(chosen)} as given" + (f", the rest {source}" if stated else "")
    return f"samples are {sizes}{numbers}: {source}; others by -s views.size=, views.mean=, views.std="


def _listed(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
