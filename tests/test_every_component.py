"""The contract of every registered part, found by itself: documented, built at its defaults, and of the right shape."""

import importlib
from collections import Counter
from typing import Any

import pytest
import torch

from ssl_zoo import registry
from tests import contract
from tests.tiny import small

ALL = [(kind, name) for kind in registry.PACKAGES for name in registry.members(kind)]
COVERED: Counter[str] = Counter()
MODALITIES: dict[str, contract.Sort] = {
    name: importlib.import_module(f"tests.modalities.{name}.sort").SORT for name in registry.names("modality")
}
LEAST = {"encoder": 10, "views": 26, "source": 15, "head": 31, "target": 5, "pairing": 6, "term": 33, "optimizer": 4,
         "schedule": 3, "protocol": 16, "method": 3, "modality": 3, "strategy": 3}  # fmt: skip
"""How many parts of each kind there are at least: a walk that finds nothing tests nothing."""

CONSTANT_PART = {"sliced_wasserstein", "lightly/DCLWLoss", "lightly/MACLLoss"}
"""Terms that hold a part of themselves constant, so that their gradient is not that of their value; see their tests."""

RECIPES = {"joint_embedding": "simsiam", "local": "vicregl", "masked": "i_jepa"}
"""A recipe of each kind of method."""


def of(kind: str) -> Any:
    return pytest.mark.parametrize("name", [name for k, name in ALL if k == kind])


def modality_of(kind: str, name: str) -> contract.Sort:
    """Return the modality that a part belongs to: the name of its folder in `ssl_zoo/modalities`."""
    return MODALITIES[registry.find(kind, name.replace("/*", "/any"))[0].factory.__module__.split(".")[2]]


@pytest.mark.parametrize("kind, name", ALL)
def test_it_is_documented(kind: str, name: str) -> None:
    contract.check_documented(kind, name)
    COVERED[kind] += 1


@of("encoder")
def test_encoder(name: str) -> None:
    contract.check_encoder(name, modality_of("encoder", name))


@of("views")
def test_views(name: str) -> None:
    contract.check_views(name, modality_of("views", name))


@of("modality")
def test_modality(name: str) -> None:
    contract.check_modality(name, MODALITIES[name])


@of("method")
def test_method(name: str) -> None:
    contract.check_method(small(RECIPES[name], contract.SMALL_VIEWS), MODALITIES["image"])


@of("strategy")
def test_strategy(name: str) -> None:
    contract.check_strategy(name)


@of("head")
def test_head(name: str) -> None:
    contract.check_head(name)


@of("target")
def test_target(name: str) -> None:
    contract.check_target(name)


@of("pairing")
def test_pairing(name: str) -> None:
    contract.check_pairing(name)


@of("term")
def test_term(name: str) -> None:
    contract.check_term(name)


@of("term")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_term_is_computed_in_float32_and_bears_large_embeddings(name: str, dtype: torch.dtype) -> None:
    contract.check_half_precision(name, dtype)


@pytest.mark.parametrize("name", [name for kind, name in ALL if kind == "term" and name not in CONSTANT_PART])
def test_a_terms_gradient_is_that_of_its_value(name: str) -> None:
    contract.check_gradient(name)


FOREIGN = [(kind, name) for kind in ("term", "head") for name in registry.members(kind) if name.startswith("lightly/")]


@pytest.mark.parametrize("kind, name", FOREIGN)
def test_a_part_of_lightly_trains(kind: str, name: str) -> None:
    contract.check_trains(kind, name)


@pytest.mark.parametrize("kind, module", [("term", "lightly.loss"), ("head", "lightly.models.modules.heads")])
def test_no_loss_or_head_of_lightly_is_left_out(kind: str, module: str) -> None:
    """Each is tested above, or named with the reason why it cannot be used; a new one is in neither list."""
    family = next(registry.family_of(entry) for entry in registry.entries(kind) if entry.name == "lightly/*")
    theirs = {
        name
        for name, found in vars(importlib.import_module(module)).items()
        if isinstance(found, type) and issubclass(found, torch.nn.Module) and found.__module__.startswith("lightly.")
    }
    assert family
    tested = {name.removeprefix("lightly/") for k, name in FOREIGN if k == kind}
    assert len(theirs) > 20 and tested.isdisjoint(family.refused) and tested | set(family.refused) == theirs


@of("optimizer")
def test_optimizer(name: str) -> None:
    contract.check_optimizer(name)


@of("schedule")
def test_schedule(name: str) -> None:
    contract.check_schedule(name)


@of("protocol")
def test_protocol(name: str) -> None:
    if name == "cka":
        pytest.skip("it needs another run: tests/evaluation/protocols/test_cka.py")
    contract.check_protocol(name)


def test_all_parts_were_covered() -> None:
    assert set(COVERED) == set(registry.PACKAGES) == set(LEAST)
    for kind, least in LEAST.items():
        assert COVERED[kind] == len(registry.members(kind)) >= least, kind
