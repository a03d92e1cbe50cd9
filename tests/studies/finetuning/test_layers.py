"""Learning rates by layer: a closed form, every weight once, blocks whole."""

import pytest
import timm
import torch
from torch import nn

from ssl_zoo import registry
from ssl_zoo.studies.finetuning.layers import layers, rate_groups
from tests.tiny import spec_of


def names(encoder):
    return [[name for name, _ in layer] for layer in layers(encoder)]


def test_rates_fall_by_a_factor_from_the_head_to_the_input():
    encoder = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 5), nn.Linear(5, 2))
    head = nn.Linear(2, 3)
    groups = rate_groups(encoder, head, lr=0.1, decay=0.5, weight_decay=0.2)
    found = {id(p): (group["full"], group["weight_decay"]) for group in groups for p in group["params"]}
    first, norm, _, second, third = encoder
    for module, rate in ((first, 0.1 / 8), (norm, 0.1 / 8), (second, 0.1 / 4), (third, 0.1 / 2), (head, 0.1)):
        assert found[id(module.weight)] == (pytest.approx(rate), 0.0 if module is norm else 0.2)
        assert found[id(module.bias)] == (pytest.approx(rate), 0.0)
    assert len(found) == sum(len(group["params"]) for group in groups) == 10


def test_layers_of_encoders_are_their_blocks_in_order():
    convnet = registry.build("encoder", "convnet", {"widths": [4, 8]}, spec=spec_of())
    assert names(convnet) == [
        ["body.0.weight", "body.1.weight", "body.1.bias"], ["body.3.weight", "body.4.weight", "body.4.bias"]
    ]  # fmt: skip
    resnet = registry.build("encoder", "resnet18", {"width": 1 / 16}, spec=spec_of())
    assert [layer[0] for layer in names(resnet)] == [
        "conv1.weight", *(f"layer{i}.{j}.conv1.weight" for i in (1, 2, 3, 4) for j in (0, 1))
    ]  # fmt: skip
    vit = timm.create_model("test_vit", img_size=32, num_classes=0)
    found = names(vit)
    assert found[0][:2] == ["cls_token", "pos_embed"] and "patch_embed.proj.weight" in found[0] + found[1]
    assert [layer[0].split(".")[1] for layer in found if layer[0].startswith("blocks")] == [*map(str, range(6))]
    for encoder in (convnet, resnet, vit):
        listed = [name for layer in names(encoder) for name in layer]
        assert sorted(listed) == sorted(name for name, _ in encoder.named_parameters())


def test_an_encoder_without_children_is_one_layer_and_shared_weights_count_once():
    class Lone(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 2))

    assert names(Lone()) == [["weight"]]
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert names(tied) == [["0.weight", "0.bias", "1.bias"]]
