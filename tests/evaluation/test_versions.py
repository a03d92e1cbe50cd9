"""A protocol that computes something else has another version: each version is pinned to numbers on fixed data.

Where a number here has to be changed, raise the `version` of the protocol with it: runs of the old one do not compare.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.evaluation.contract import protocol_class
from tests.contract import ASKING, _judged

OPTIONS: dict[str, dict[str, Any]] = {
    "fine_tune": {"steps": 10, "lrs": [0.02]},
    "semi_supervised": {"fractions": [0.1], "draws": 2, "steps": 10, "lrs": [0.02]},
    "linear_augmented": {"epochs": 3},
    "attentive": {"epochs": 3},
    "label_free_tokens": {"local_clusters": 2, "global_clusters": 3, "together": 30},
}

PINNED: dict[str, tuple[int, dict[str, float]]] = {
    "attentive": (1, {"top1": 0.6167}),
    "few_shot": (1, {"top1": 0.6337, "std": 0.0589}),
    "fine_tune": (1, {"top1": 0.65}),
    "knn": (1, {"top1": 0.7333, "k": 10}),
    "label_free": (1, {"std": 0.9476, "effective_rank": 5.8575}),
    "label_free_tokens": (1, {"dse": 1.3556}),
    "label_free_views": (1, {"lidar": 5.4709, "alignment": 0.8423}),
    "label_retrieval": (1, {"map": 0.5465, "map_chance": 0.3649}),
    "linear": (1, {"top1": 0.75}),
    "linear_augmented": (1, {"top1": 0.7167}),
    "retrieval": (1, {"first_to_second_r1": 1.0, "first_to_second_r1_chance": 0.0167}),
    "semi_supervised": (1, {"top1_10pct": 0.55, "std_10pct": 0.0236}),
    "view_retrieval": (1, {"r1": 0.1917, "r5": 0.4917, "median_rank": 5.75, "num": 60}),
    "zero_shot": (1, {"top1": 0.7667, "top1_chance": 0.3333}),
}

OWN_TESTS = {*ASKING, "cka"}
"""Protocols whose numbers are those of others (`transfer`), or that need what the fixed data lack."""


def samples(num: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three overlapping classes in six dimensions: a few samples are on the wrong side."""
    y = torch.arange(num) % 3
    x = torch.randn(num, 6, generator=torch.Generator().manual_seed(seed))
    return x + 1.5 * nn.functional.one_hot(y, 6), y


def numbers(name: str) -> dict[str, float]:
    protocol = registry.build("protocol", name, OPTIONS.get(name, {}))
    train, test = (_judged(protocol.sees, *samples(num, seed)) for num, seed in ((90, 0), (60, 1)))
    return dict(protocol(train, test))


@pytest.mark.parametrize("name", [name for name in registry.names("protocol") if name not in OWN_TESTS])
def test_a_version_stands_for_its_numbers(name: str) -> None:
    version, pinned = PINNED[name]
    assert protocol_class(name).version == version
    found = numbers(name)
    assert {key: found[key] for key in pinned} == pytest.approx(pinned, abs=2e-4)
