"""The forward and backward pass of every method is what a CUDA graph repeats: it changes tensors, not Python's objects.

Draws are those of a GPU (`rng.draws_on_host`), which the device computes by itself.
"""

import copy
from typing import Any

import pytest
import torch

from experiments.gpu.replay import StandIn
from ssl_zoo import rng
from ssl_zoo.batch import Batch
from ssl_zoo.data.source import Samples
from ssl_zoo.methods.build import build, build_views
from ssl_zoo.methods.method import Method
from ssl_zoo.recipe.load import method_names
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.rng import generator
from ssl_zoo.training.python_state import difference, python_state
from tests.modalities.video.sort import clips
from tests.tiny import small

NUM = 24
SHAPES_VARY = {"i_jepa", "v_jepa"}
"""Methods whose steps differ in shape, by how many places are hidden; a graph repeats those of one shape alone. The
masks of the first step are then taken in all of them.
"""

COVERED: set[str] = set()


def small_recipe(name: str) -> Recipe:
    recipe = small(name)
    if not recipe.members and "masks" not in recipe.dump():
        local = ["views.local_size=8"] if "local_size" in recipe.views.options else []
        recipe = small(name, ["views.size=8", *local])
    return recipe


def samples_of(recipe: Recipe, step: int) -> Samples:
    images = torch.randint(0, 256, (NUM, 3, 8, 8), generator=generator(step, "images")).to(torch.uint8)
    if recipe.members:
        return [dict.fromkeys(recipe.members, image) for image in images]
    return clips(NUM, 3) if "num_frames" in recipe.views.options else images


def batches(recipe: Recipe, method: Method, num: int) -> list[Batch]:
    policy, index = build_views(recipe), torch.arange(NUM)
    draws, made = method.draws(policy.spec), []
    for step in range(num):
        drawn = policy.draw(generator(0, "views", step), NUM)
        views = policy(policy.collate(samples_of(recipe, step), drawn))
        at = 0 if recipe.method in SHAPES_VARY else step
        made.append(Batch(views, index.clone(), {} if draws is None else draws(at, index)))
    return made


def put(source: Batch, into: Batch) -> None:
    for view, other in zip(into.views, source.views, strict=True):
        view.tensor.copy_(other.tensor)
        for key, value in view.aux.items():
            value.copy_(other.aux[key])
    for key, value in into.drawn.items():
        value.copy_(source.drawn[key])


def gradients_of(method: Any, batch: Batch) -> torch.Tensor:
    loss = method(batch).loss
    loss.backward()
    return loss.detach()


def cleared(method: Any) -> None:
    for weight in method.parameters():
        if weight.grad is not None:
            weight.grad.zero_()


def stepped(method: Any, progress: float) -> None:
    with torch.no_grad():
        for weight in method.parameters():
            if weight.grad is not None:
                weight.sub_(0.1 * weight.grad)
    method.after_step(progress)


@pytest.mark.parametrize("name", method_names())
def test_forward_changes_tensors_alone_and_a_replayed_one_is_the_plain_one(name: str, monkeypatch) -> None:
    monkeypatch.setattr(rng, "draws_on_host", lambda device: False)
    recipe = small_recipe(name)
    plain = build(recipe).train()
    first, second, third = batches(recipe, plain, 3)
    gradients_of(plain, first)
    stepped(plain, 0.2)
    cleared(plain)
    graphed, inputs, graph = copy.deepcopy(plain), copy.deepcopy(second), StandIn()
    COVERED.add(name)
    before = python_state([graphed])
    gradients_of(graphed, second)
    assert difference(before, python_state([graphed])) == ""
    gradients_of(plain, second)
    for method in (plain, graphed):
        stepped(method, 0.4)
        cleared(method)
    assert difference(before, python_state([graphed])) == ""
    put(third, inputs)
    loss = graph.record(lambda: gradients_of(graphed, inputs))
    for batch, progress in ((third, 0.6), (second, 0.8), (first, 1.0)):
        put(batch, inputs)
        graph.replay()  # the first time it has been done in the recording
        assert torch.equal(gradients_of(plain, batch), loss)
        for method in (plain, graphed):
            stepped(method, progress)
            cleared(method)
    state = graphed.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())


def test_all_methods_were_covered() -> None:
    assert set(method_names()) == COVERED and len(COVERED) >= 31
