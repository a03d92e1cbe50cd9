"""Gradient checkpointing: the same training bit for bit, from fewer activations that are kept."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build, build_encoder
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.runs.checkpoint import load
from ssl_zoo.runs.folder import RunFolder
from ssl_zoo.training.activation_checkpointing import recompute_blocks
from ssl_zoo.training.train import train

ENCODERS = {"resnet18": 8, "resnet50": 16, "transformer": 3}
"""Name -> blocks."""


def encoder_of(name: str) -> nn.Module:
    if name == "transformer":
        return VisionTransformer(32, 8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, dropout=0.1)
    return build_encoder(load_recipe("simsiam", [f"encoder={name}", "encoder.width=0.125"]))


@pytest.mark.parametrize("name", ENCODERS)
def test_losses_gradients_and_statistics_are_the_same_and_less_is_kept(name):
    plain = encoder_of(name)
    other = copy.deepcopy(plain)
    assert recompute_blocks(other, name) == ENCODERS[name]
    assert list(plain.state_dict()) == list(other.state_dict())
    copied = copy.deepcopy(other)  # a copy computes with its own weights
    with torch.no_grad():
        for weight in copied.parameters():
            weight.zero_()
    torch.manual_seed(0)
    x = torch.randn(4, 3, 32, 32)
    kept = []
    for encoder in (plain, other):
        seen: dict[int, int] = {}  # storage -> bytes
        pack = lambda t, seen=seen: seen.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t  # noqa: E731
        torch.manual_seed(1)  # of the dropout
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            loss = encoder(x).square().mean()
            weights = {w.untyped_storage().data_ptr() for w in encoder.parameters()}
            kept.append(sum(size for place, size in seen.items() if place not in weights))
        loss.backward()
    assert kept[1] < 0.65 * kept[0]
    for (name_of, one), two in zip(plain.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad), name_of
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), other.buffers(), strict=True))
    with torch.no_grad():
        assert float(copied(x).abs().max()) == 0


def test_dropout_is_drawn_again_as_it_was():
    body = nn.Sequential(
        nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)), nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))
    )
    other = copy.deepcopy(body)
    assert recompute_blocks(other, "mine") == 2
    for model in (body, other):
        torch.manual_seed(3)
        model(torch.ones(4, 8)).square().sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(body.parameters(), other.parameters(), strict=True))


def test_an_encoder_without_blocks_is_refused():
    with pytest.raises(UserError, match=r"gradient_checkpointing: encoder 'convnet' has no blocks"):
        recompute_blocks(build_encoder(load_recipe("simsiam", ["encoder=convnet"])), "convnet")


def test_a_run_is_the_same_with_and_without(tmp_path):
    sets = ["encoder=resnet18", "encoder.width=0.125", "encoder.stem=small", "views.channels=1", "views.size=16",
            "views.grey=0", "training.batch_size=16", "training.max_steps=3", "projector.dims=[8, 8]",
            "predictor.dims=[4, 8]", "evaluation.protocols=[]"]  # fmt: skip
    states = []
    for value in ("false", "true"):
        recipe = load_recipe("byol", [*sets, f"training.gradient_checkpointing={value}"], data="digits")
        train(recipe, out=tmp_path / value, log=lambda line: None)
        states.append(load(RunFolder(tmp_path / value).checkpoint)["method"])
    assert list(states[0]) == list(states[1]) == list(build(recipe).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
