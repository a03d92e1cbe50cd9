"""`training.compile`: what is compiled, and equal losses; the compiler itself is in the slow tests."""

import copy

import pytest
from torch import nn

from experiments.gpu.check_graph import losses, open_run
from ssl_zoo.methods.members import DirectionHeads
from ssl_zoo.training.compilation import compile_networks
from tests.training.test_cuda_graph import tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own look


class Head(nn.Linear):
    out_dim = 2


def tried(name):
    """Train plainly and compiled; return the names of the networks, and the sizes of the graphs that were made."""
    recipe, graphs = tiny_recipe(name), []

    def backend(module, inputs):
        graphs.append(len(module.graph.nodes))
        return module.forward

    plain, compiled = open_run(recipe), open_run(recipe)
    names = compile_networks(compiled.method, backend=backend)
    assert list(compiled.method.state_dict()) == list(plain.method.state_dict())
    expected = list(losses(plain, 0, 2))
    assert list(losses(compiled, 0, 2)) == expected
    number = len(graphs)
    assert list(losses(compiled, 2, 4)) == list(losses(plain, 2, 4)) and len(graphs) == number  # nothing is made anew
    another = copy.deepcopy(compiled.method)
    assert all(module._compiled_call_impl is None for module in another.modules())
    assert list(another.state_dict()) == list(plain.method.state_dict())
    return names, graphs


def test_encoder_heads_and_target_are_compiled():
    names, graphs = tried("byol")
    target = ["target.network.encoder", "target.network.projector"]
    assert names == ["encoder", "projector", "predictor", *target] and len(graphs) == 5
    members = DirectionHeads({("a", "b"): Head(2, 2), ("b", "a"): Head(2, 2)})
    names = compile_networks(nn.ModuleDict({"predictor": members}))
    assert names == ["predictor"] and all(head._compiled_call_impl is not None for head in members.values())


def test_the_blocks_of_an_encoder_whose_places_are_asked_for_are_compiled():
    names, graphs = tried("i_jepa")
    assert names == ["encoder", "predictor", "target.network.encoder"] and graphs
