"""Recipes and samples of pairs of images that several tests share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_zoo.batch import Batch
from ssl_zoo.methods.build import build_views
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.rng import generator

VIEWS = "views={photo: {name: augment, size: 12}, sketch: {name: augment, size: 8, channels: 1, jitter: 0, grey: 0}}"
"""Two members of different channels and sizes."""
HEADS = {
    "simsiam": (
        "projector={each: {name: mlp, dims: [8, 8], last_norm: batch}}",
        "predictor={each: {name: mlp, dims: [4, 8]}}",
    ),
    "byol": ("projector={each: {name: mlp, dims: [10, 5]}}", "predictor={per_direction: {name: mlp, dims: [10, 5]}}"),
    "barlow_twins": ("projector={each: {name: mlp, dims: [7, 7]}}",),
    "vicreg": ("projector={photo: {name: mlp, dims: [9, 7]}, sketch: {name: mlp, dims: [6, 7]}}",),
}
"""Heads of the first four methods per member; both layouts of predictors."""
ENCODER = "encoder={photo: {name: convnet, widths: [4, 6]}, sketch: {name: convnet, widths: [4, 5]}}"
DIGITS = "data.source={name: same_label, sources: {photo: {name: digits, placements: 1}, sketch: digits}}"
SHORT = ("training.batch_size=24", "training.max_steps=6", "training.log_every=1", "evaluation.protocols=[]")


def cross(method: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return one of the first four methods across two members, small."""
    return load_recipe(method, [VIEWS, ENCODER, *HEADS[method], "pairing=cross_modal", *overrides])


def samples(num: int = 6) -> list[dict[str, Tensor]]:
    """Return pairs of images of different sizes, as a source gives them."""
    g = generator(0, "pairs")
    return [
        {
            "photo": torch.randint(0, 256, (3, 14 + i % 2, 14), dtype=torch.uint8, generator=g),
            "sketch": torch.randint(0, 256, (1, 10, 9 + i % 3), dtype=torch.uint8, generator=g),
        }
        for i in range(num)
    ]


def batch_for(recipe: Recipe, num: int = 6, seed: int = 0) -> Batch:
    """Return the views of some samples."""
    policy = build_views(recipe)
    drawn = policy.draw(generator(seed, "views"), num)
    return Batch(policy(policy.collate(policy.cut(samples(num), drawn), drawn)))
