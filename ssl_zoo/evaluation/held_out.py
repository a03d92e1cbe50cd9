"""The score by which a setting may be chosen: kNN on a part of train that is held out, so that the test has no say."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.evaluation.labels import divide, labels_of
from ssl_zoo.evaluation.protocols.knn import KNN
from ssl_zoo.evaluation.seen import EvaluationData
from ssl_zoo.hardware import choose
from ssl_zoo.methods.build import build_views, open_recipe_data
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.encoder import read_encoder
from ssl_zoo.runs.folder import RunFolder

FRACTION = 0.2
"""The part of the samples that classifiers learn from, of each class, that is held out for the choice."""

RULE = (
    "kNN accuracy on a fifth of each class of the samples that classifiers learn from, held out and the same for every "
    "run, with the others as the neighbours; mean over the seeds. Samples of the test have no part in it."
)


def _silent(line: str) -> None:
    pass


def held_out_score(run: str | Path, log: Callable[[str], None] = _silent) -> float | None:
    """Return the accuracy of a run's encoder on a held-out part of what classifiers learn from.

    It is `knn` at its defaults, with the number of neighbours chosen on the rest. Of samples that are mappings it is
    the mean over their members.

    Args:
        run: a finished run folder.
        log: gets a sentence on why there is no score.

    Returns:
        A fraction; None where there are no labels, no class has two samples, or the features are not finite.

    Raises:
        UserError: the data of the run cannot be read.
    """
    folder = RunFolder(run)
    recipe = load_recipe(str(folder.recipe))
    try:
        encoder = read_encoder(run)
    except UserError as error:
        log(f"{run}: {error}")
        return None
    policy, hardware = build_views(recipe), choose(recipe.training.precision, for_training=False)
    opened = open_recipe_data(recipe, policy.spec)
    labels = labels_of(opened.train, opened.test, recipe.evaluation.limit)
    division = divide(labels.train, labels.test)
    if division.reason:
        log(f"{run}: no held-out score, since {division.reason}")
        return None
    split, index = division.learn
    kept, held = holdout(labels.of(split, index), FRACTION, seed=0, stream="tuning")
    if not len(held):
        return None
    samples = opened.train if split == "train" or opened.test is None else opened.test
    device, half = hardware.device, hardware.precision == "bf16"
    data = EvaluationData(policy, opened.modality, samples, None, device, recipe.evaluation.limit, half)
    seen = data.seen(encoder.to(device).eval(), Features, samples, log)
    scores = [_accuracy(each.take(index[kept]), each.take(index[held])) for each in seen.values()]
    return None if None in scores else statistics.fmean(score for score in scores if score is not None)


def _accuracy(bank: Any, queries: Any) -> float | None:
    if not bool(torch.cat([bank.finite, queries.finite]).all()):
        return None
    return KNN()(bank, queries)["top1"]
