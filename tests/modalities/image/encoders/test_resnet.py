"""The ResNets are torchvision's: names, shapes, seeded first values, features and gradients."""

import warnings

import pytest
import torch
from torch import nn
from torchvision.models import resnet

from ssl_zoo import registry
from ssl_zoo.batch import View
from tests.killing import in_child
from tests.modalities.image import not_imported
from tests.tiny import spec_of

NAMES = ["resnet18", "resnet34", "resnet50", "resnet101"]


def pair(name: str, **options: bool) -> tuple[nn.Module, nn.Module]:
    """Return our encoder and torchvision's, both made after the same seed; without classes, theirs draws no more."""
    torch.manual_seed(0)
    ours = registry.build("encoder", name, options, spec=spec_of())
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        theirs = getattr(resnet, name)(num_classes=0, **options)
    theirs.fc = nn.Identity()
    return ours, theirs


@pytest.mark.parametrize("zero_init_residual", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_seeded_weights_are_torchvisions_bit_for_bit(name: str, zero_init_residual: bool) -> None:
    ours, theirs = (m.state_dict() for m in pair(name, zero_init_residual=zero_init_residual))
    assert list(ours) == list(theirs) and len(ours) > 100
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.mark.parametrize("name", NAMES)
def test_weights_load_strictly_both_ways(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = registry.build("encoder", name, spec=spec_of()), getattr(resnet, name)()
    theirs.fc = nn.Identity()
    ours.load_state_dict(theirs.state_dict(), strict=True, assign=True)
    theirs.load_state_dict(ours.state_dict(), strict=True, assign=True)
    assert ours.out_dim == (512 if name in ("resnet18", "resnet34") else 2048)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_features_and_gradients_are_torchvisions_bit_for_bit(name: str, training: bool) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ours, theirs = (m.train(training) for m in pair(name))
    h, expected = ours(x), theirs(x)
    assert torch.equal(h, expected) and torch.equal(ours.tokens(View(x))[0].mean(dim=1), ours(x))
    h.square().sum().backward()
    expected.square().sum().backward()
    for (key, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad), key


def test_the_small_stem_keeps_the_resolution_and_the_width_scales_the_channels() -> None:
    encoder = registry.build("encoder", "resnet18", {"stem": "small", "width": 0.25}, spec=spec_of(channels=1))
    assert encoder.out_dim == 128 and encoder.tokens(View(torch.randn(2, 1, 32, 32)))[1] == (4, 4)


def test_encoders_import_neither_torchvision_nor_timm() -> None:
    in_child(not_imported.import_all_encoders)
