"""The contract of every shipped method, whatever it is: found by itself, built small, trained a few steps."""

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ssl_zoo.methods import check, contract
from ssl_zoo.methods.method import Method
from ssl_zoo.optim.param_groups import parameter_groups
from ssl_zoo.recipe.load import load_recipe, method_names
from ssl_zoo.recipe.model import Recipe, parse
from ssl_zoo.training.setup import build
from tests.distributed.parity import whole_batch
from tests.tiny import small

STEPS = 3
COVERED: set[str] = set()


def train(method: Method, recipe: Recipe, first: int, last: int, dtype: torch.dtype | None = None) -> list[Tensor]:
    """Train on made-up batches, from step `first` to `last`, and return the losses."""
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for step in range(first, last):
        batch = whole_batch(recipe, torch.float32, seed=step)
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            output = method(batch)
        assert output.loss.dtype == torch.float32 and output.loss.isfinite(), output.terms
        assert all(value.ndim == 0 and value.isfinite() for value in output.terms.values())
        optimizer.zero_grad()
        output.loss.backward()
        for name, weight in method.named_parameters():
            assert weight.grad is None or weight.grad.isfinite().all(), name
        optimizer.step()
        method.after_step((step + 1) / STEPS)
        losses.append(output.loss.detach())
    return losses


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", method_names())
def test_it_trains(name: str, dtype: torch.dtype | None) -> None:
    recipe = small(name)
    method = build(recipe)
    before = {key: value.clone() for key, value in method.encoder.named_parameters()}
    train(method, recipe, 0, STEPS, dtype)
    moved = [key for key, value in method.encoder.named_parameters() if not torch.equal(value, before[key])]
    assert len(moved) == len(before), f"not trained: {sorted(set(before) - set(moved))}"
    COVERED.add(name)


@pytest.mark.parametrize("name", method_names())
def test_gradient_is_where_it_belongs(name: str) -> None:
    """The target network gets none; every other trainable parameter does, and belongs to one optimizer group."""
    recipe = small(name)
    method = build(recipe)
    train(method, recipe, 0, 1)
    method.zero_grad(set_to_none=True)
    method(whole_batch(recipe, torch.float32, seed=1)).loss.backward()
    target = {id(p) for p in method.target.parameters()}
    assert all(p.grad is None and not p.requires_grad for p in method.target.parameters())
    without = [n for n, p in method.named_parameters() if id(p) not in target and p.requires_grad and p.grad is None]
    assert not without
    grouped = [name for group in parameter_groups(method, recipe.training.groups) for name in group["names"]]
    expected = [n for n, p in method.named_parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(expected) and len(set(grouped)) == len(grouped)


@pytest.mark.parametrize("name", method_names())
def test_a_state_dict_is_all_that_the_next_step_depends_on(name: str) -> None:
    """N steps, state into a new method, N more steps: equal to 2N steps, bit for bit (plain SGD has no state)."""
    recipe = small(name)
    whole = build(recipe)
    losses = train(whole, recipe, 0, 2 * STEPS)
    first = build(recipe)
    train(first, recipe, 0, STEPS)
    state = copy.deepcopy(first.state_dict())
    second = build(recipe.model_copy(update={"seed": 1}))
    second.load_state_dict(state)
    rest = train(second, recipe, STEPS, 2 * STEPS)
    assert all(torch.equal(a, b) for a, b in zip(losses[STEPS:], rest, strict=True))
    ours, theirs = whole.state_dict(), second.state_dict()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


@pytest.mark.parametrize("name", method_names())
def test_the_recipe_joins_and_survives_a_round_trip(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is checked without memory for its weights, which takes a part of the time."""
    recipe = load_recipe(name)
    assert parse(recipe.dump(), name) == recipe and recipe.method == name

    def without_memory(make: Callable[[], Method]) -> Method:
        method = contract.without_memory(make)
        assert all(weight.is_meta for weight in method.parameters())
        return method

    monkeypatch.setattr(check, "without_memory", without_memory)
    assert check.check_recipe(recipe)["parameters"]["encoder"] > 1e6


@pytest.mark.parametrize("name", method_names())
def test_its_header_says_where_it_comes_from(name: str) -> None:
    from ssl_zoo.recipe.load import recipe_path

    head = [line for line in recipe_path(name).read_text().splitlines() if line.startswith("# ")]
    text = " ".join(line.removeprefix("# ") for line in head)
    assert re.search(r"\b20\d\d\b", text) and "Setting:" in text, "no year of the paper, or no setting"
    assert re.search(r"[Cc]ode (of|is|sets)", text), "says nothing of the code"
    assert re.search(r"Differences?\b|[Ff]ollows", text), "says nothing of deliberate differences"
    assert f"Command: ssl-zoo train {name} --data" in text


def test_all_methods_were_covered() -> None:
    assert set(method_names()) == COVERED and len(COVERED) >= 29
