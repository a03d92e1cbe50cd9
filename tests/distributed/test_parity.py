"""Every term and every recipe on several processes equals one process on the concatenated batch (T12, T13, T14, T17).

Every process has other samples. Compared are the loss, each term, the gradient of each parameter after
DistributedDataParallel has averaged it, and the buffers, over two steps; the second sees the state that the first left.
"""

from __future__ import annotations

from typing import Any

import pytest

from ssl_zoo import registry
from ssl_zoo.recipe.load import method_names
from ssl_zoo.recipe.model import Recipe
from tests.contract import SMALL_TERMS
from tests.distributed.group import run_group
from tests.distributed.parity import BATCH, compare
from tests.pairs import HEADS, cross
from tests.tiny import small

TERMS = [f"term/{name}" for name in registry.members("term")]
METHODS = [f"method/{name}" for name in method_names()]
PAIRS = [f"pairs/{name}" for name in HEADS]
TARGETS = ["target/alternate", "target/view_average"]
SIZES = {2: ("float64", "float32"), 3: ("float64",)}
"""The precisions for each number of processes: rounding is seen with two, an average of unequal parts with three."""
CASES = [
    (size, dtype, item)
    for size, dtypes in SIZES.items()
    for dtype in dtypes
    for item in (*TERMS, *METHODS, *PAIRS, *TARGETS)
    if item not in METHODS or size != 2  # those are in test_steps.py
]
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
WRONG = [
    ("term/covariance", "raw gather", "gradients"),
    ("term/covariance", "no gather", "loss"),
    ("term/nuclear_norm", "raw gather", "gradients"),
    ("method/barlow_twins", "raw gather", "gradients"),
    ("method/barlow_twins", "no gather", "loss"),
    ("method/simsiam", "local norms", "gradients"),
    ("method/byol", "local norms", "buffers"),
]
"""An item, a way to get it wrong, and where that has to show."""


def recipe_of(item: str) -> Recipe:
    """Return the recipe of `method/NAME`, of `pairs/NAME` across two members, or one with a term or a target."""
    kind, name = item.split("/", 1)
    if kind == "pairs":
        return cross(name)
    if kind == "method":
        return small(name)
    if kind == "target":
        return small("simsiam", [f"target={name}"])
    heads = ["projector.dims=[1024, 1024]", "predictor={name: mlp, dims: [2048, 1024]}"]
    options = "".join(f", {key}: {value}" for key, value in SMALL_TERMS.get(name, lambda num: {})(BATCH).items())
    return small("vicreg", [f"objective={{name: {name}{options}}}", *heads, "pairing=all_pairs"])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    recipes = {item: recipe_of(item) for item in (*TERMS, *METHODS, *PAIRS, *TARGETS)}
    wrong = [(item, "float64", way) for item, way, _ in WRONG]
    known = tmp_path_factory.mktemp("parity") / "alone.pt"
    found = {}
    for size in SIZES:
        keys = [(item, dtype, "") for of, dtype, item in CASES if of == size] + wrong
        found[size] = run_group(size, compare, recipes, keys, known)[0]
    return found


@pytest.mark.parametrize(("size", "dtype", "item"), CASES)
def test_several_processes_equal_one(results: dict[int, Any], size: int, item: str, dtype: str) -> None:
    furthest, unequal = results[size][item, dtype, ""]
    for kind, (difference, where) in furthest.items():
        assert difference < TOLERANCE[dtype], (kind, where)
    assert unequal == []


@pytest.mark.parametrize(("item", "wrong", "kind"), WRONG)
@pytest.mark.parametrize("size", SIZES)
def test_a_wrong_reduction_is_seen(results: dict[int, Any], size: int, item: str, wrong: str, kind: str) -> None:
    furthest, _ = results[size][item, "float64", wrong]
    assert furthest[kind][0] > 1e-3


def test_nothing_is_left_out(results: dict[int, Any]) -> None:
    assert len(TERMS) >= 33 and len(METHODS) >= 29
    for size in SIZES:
        found = {(size, dtype, item) for item, dtype, wrong in results[size] if not wrong}
        assert found == {case for case in CASES if case[0] == size}
