"""Weights in the layouts of other people's files; the files are made here, with random weights."""

import argparse

import pytest
import timm
import torch
import torchvision
from lightly.models import ResNetGenerator
from lightly.models.modules.heads import SimSiamPredictionHead, SimSiamProjectionHead
from torch import nn

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.heads.mlp import MLP
from ssl_zoo.methods.first_weights import put_weights, report_of
from ssl_zoo.runs.weights import initial_weights
from tests.tiny import spec_of

SPEC, WIDTH, VIT = spec_of(size=32), 1 / 16, "test_vit"


def encoder(name="resnet18", **options):
    return registry.build("encoder", name, options, spec=SPEC)


@pytest.fixture(scope="module")
def resnet():
    """A narrow ResNet-18 with torchvision's names, as another test checks on a whole one, and its classifier."""
    torch.manual_seed(0)
    narrow = encoder(width=WIDTH)
    narrow.fc = nn.Linear(narrow.out_dim, 3)
    return narrow


def start(tmp_path, held, module, part="encoder", name="weights.pth"):
    """Return what is said of a module that starts from a file that holds `held`."""
    torch.save(held, tmp_path / name)
    weights = initial_weights(tmp_path / name, (part,))[part]
    put_weights(module, weights, part)
    return report_of(module, weights, part)


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def equal(module, other, names=lambda name: name):
    state = other.state_dict()
    return all(torch.equal(value, state[names(name)]) for name, value in module.state_dict().items())


def simsiam(resnet):
    """The layout of facebookresearch/simsiam: in place of the classifier stands the projector, with a hidden bias."""
    fc = nn.Sequential(
        nn.Linear(32, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8),
        nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8, affine=False),
    )  # fmt: skip
    predictor = nn.Sequential(nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 8))
    body = {name: value for name, value in resnet.state_dict().items() if not name.startswith("fc.")}
    state = {**prefixed(body, "encoder."), **prefixed(fc.state_dict(), "encoder.fc.")}
    state |= prefixed(predictor.state_dict(), "predictor.")
    return {"epoch": 1, "arch": "resnet18", "state_dict": prefixed(state, "module."), "optimizer": {"state": {}}}, fc


def layouts(resnet):
    """{whose: what the file holds} of files with the weights of one ResNet."""
    state = resnet.state_dict()
    bare = {name: value for name, value in state.items() if not name.startswith("fc.")}
    by_number = nn.Sequential(*list(resnet.children())[:-1]).state_dict()
    head = {"head.mlp.0.weight": torch.ones(2, 2)}
    other = {name: value + 1 for name, value in bare.items()}
    return {
        "torchvision": state,
        "Barlow Twins, VICReg: resnet50.pth": bare,
        "DINO's checkpoint": {
            "student": prefixed({**prefixed(other, "backbone."), **head}, "module."),
            "teacher": {**prefixed(bare, "backbone."), **head},
            "args": argparse.Namespace(arch="resnet18", lr=0.1),
            "dino_loss": {"center": torch.zeros(1, 2)},
            "epoch": 3,
        },
        "SimSiam": simsiam(resnet)[0],
        "Barlow Twins, VICReg: a checkpoint": {"epoch": 1, "model": prefixed(bare, "module.backbone.")},
        "lightly": {"state_dict": prefixed(bare, "backbone."), "pytorch-lightning_version": "2.0", "loops": {}},
        "lightly's tutorials": {"state_dict": prefixed(by_number, "backbone.")},
        "BYOL in PyTorch": {"online_network_state_dict": prefixed(by_number, "encoder.")},
        "compiled": prefixed(state, "_orig_mod."),
    }


def test_an_encoder_is_found_in_the_layouts_of_others(resnet, tmp_path):
    for whose, held in layouts(resnet).items():
        ours = encoder(width=WIDTH)
        (line,) = start(tmp_path, held, ours)
        assert equal(ours, resnet), whose
        assert line.startswith("--init-from: encoder: 120 of 120 tensors taken"), line
    assert start(tmp_path, layouts(resnet)["torchvision"], encoder(width=WIDTH)) == [
        "--init-from: encoder: 120 of 120 tensors taken; 2 that this encoder does not have: fc.bias, fc.weight"
    ]
    (line,) = start(tmp_path, layouts(resnet)["DINO's checkpoint"], encoder(width=WIDTH), name="checkpoint.pth.tar")
    assert line.endswith("120 of 120 tensors taken (the names are DINO's, the teacher (teacher.backbone.*))")


def test_heads_are_found_where_their_names_map(resnet, tmp_path):
    held, fc = simsiam(resnet)
    projector = MLP(32, dims=[8, 8, 8], last_norm="batch", last_bias=False, last_affine=False)
    (line,) = start(tmp_path, held, projector, "projector")
    assert equal(projector, fc) and "1 that this projector does not have: 6.bias" in line
    predictor = MLP(8, dims=[4, 8])
    assert "9 of 9" not in start(tmp_path, held, predictor, "predictor")[0]
    assert torch.equal(predictor[3].bias, held["state_dict"]["module.predictor.3.bias"])

    theirs = {"projection_head.": SimSiamProjectionHead(32, 8, 8), "prediction_head.": SimSiamPredictionHead(8, 4, 8)}
    state = prefixed(resnet.state_dict(), "backbone.")
    for name, head in theirs.items():
        state |= prefixed(head.state_dict(), name)
    projector, predictor = MLP(32, dims=[8, 8, 8], last_norm="batch", last_bias=False, last_affine=False), predictor
    start(tmp_path, {"state_dict": state}, projector, "projector")
    start(tmp_path, {"state_dict": state}, predictor, "predictor")
    heads = theirs.values()
    assert all(equal(a, b, "layers.{}".format) for a, b in zip((projector, predictor), heads, strict=True))
    with pytest.raises(UserError, match="--init-part predictor: .* holds no weights of the predictor"):
        start(tmp_path, resnet.state_dict(), predictor, "predictor")


def test_lightlys_own_resnet_has_other_names_for_its_shortcuts(tmp_path):
    generator = ResNetGenerator("resnet-18", width=WIDTH)
    by_number = nn.Sequential(*list(generator.children())[:-1], nn.AdaptiveAvgPool2d(1))
    for held in (prefixed(generator.state_dict(), "backbone."), prefixed(by_number.state_dict(), "backbone.")):
        ours = encoder(stem="small", width=WIDTH)
        start(tmp_path, held, ours)
        assert equal(ours, generator, lambda name: name.replace("downsample", "shortcut"))


def test_another_stem_is_told_and_the_rest_is_taken(resnet, tmp_path):
    ours = encoder(stem="small", width=WIDTH)
    line, stem = start(tmp_path, resnet.state_dict(), ours)
    assert "119 of 120 tensors taken; 1 of another shape: conv1.weight is 4x3x7x7, here 4x3x3x3; 2 that" in line
    assert stem.startswith("--init-from: the first layer, conv1.weight, does not fit and keeps its random values")
    assert torch.equal(ours.layer4[0].conv1.weight, resnet.layer4[0].conv1.weight)


def test_weights_of_torchvision_and_timm(tmp_path):
    for theirs in (torchvision.models.resnet18(), timm.create_model("resnet18")):
        ours = encoder()
        start(tmp_path, theirs.state_dict(), ours)
        assert equal(ours, theirs)
    vit = timm.create_model(VIT, img_size=32)
    state = vit.state_dict()
    for held in (state, prefixed(state, "backbone.vit."), {"teacher": prefixed(state, "backbone.")}):
        ours = encoder(f"timm/{VIT}")
        start(tmp_path, held, ours)
        assert equal(ours, vit)


def test_a_prefix_is_cut_off_once_and_whole(tmp_path):
    """`str.lstrip("backbone.")` would eat the first letters of the name as well."""
    own = nn.ModuleDict({"conv": nn.Linear(2, 2), "backbone": nn.ModuleDict({"bone": nn.Linear(2, 3)})})
    state = {name: torch.full_like(value, i) for i, (name, value) in enumerate(own.state_dict().items())}
    start(tmp_path, prefixed(state, "backbone."), own)
    assert all(torch.equal(value, state[name]) for name, value in own.state_dict().items())
    start(tmp_path, state, own)  # names that begin with another's prefix are taken as they are
    assert all(torch.equal(value, state[name]) for name, value in own.state_dict().items())
