"""Encoders of clips, against those of torchvision and of images."""

from __future__ import annotations

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.errors import UserError
from tests.modalities.video.sort import spec_of_clips


def test_r3d_is_torchvisions() -> None:
    """The same names of weights, and the same features."""
    from torchvision.models.video import r3d_18

    torch.manual_seed(0)
    ours = registry.build("encoder", "r3d_18", {}, spec=spec_of_clips()).eval()
    torch.manual_seed(0)
    theirs = r3d_18(weights=None).eval()
    theirs.fc = torch.nn.Identity()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = torch.randn(1, 3, 4, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_grey_clips() -> None:
    for name in ("mc3_18", "tiny_r2plus1d", "mean_over_frames"):
        encoder = registry.build("encoder", name, {}, spec=spec_of_clips(channels=1))
        assert encoder(torch.randn(2, 1, 4, 16, 16)).shape == (2, encoder.out_dim)


def test_the_tiny_one_sees_the_order_of_frames_and_the_mean_does_not() -> None:
    x = torch.randn(2, 3, 8, 16, 16)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tiny = registry.build("encoder", "tiny_r2plus1d", {}, spec=spec_of_clips()).eval()
        assert (tiny(x) - tiny(x[:, :, order])).abs().max() > 1e-4
        mean = registry.build("encoder", "mean_over_frames", {"encoder": "convnet"}, spec=spec_of_clips()).eval()
        torch.testing.assert_close(mean(x), mean(x[:, :, order]))


def test_the_mean_over_frames_is_that_of_the_encoder_of_images() -> None:
    options = {"encoder": {"name": "convnet", "widths": [4, 8]}}
    encoder = registry.build("encoder", "mean_over_frames", options, spec=spec_of_clips()).eval()
    x = torch.randn(2, 3, 8, 16, 16)
    with torch.no_grad():
        expected = torch.stack([encoder.frame(x[:, :, t]) for t in range(8)]).mean(dim=0)
        torch.testing.assert_close(encoder(x), expected)
        tokens, grid = encoder.tokens(View(x, "video"))
    assert encoder.out_dim == 8 and grid == (8, 8, 8) and tokens.shape == (2, 512, 8)
    torch.testing.assert_close(tokens.unflatten(1, grid)[:, 3].mean(dim=(1, 2)), encoder.frame(x[:, :, 3]).detach())


def test_the_encoder_of_images_gets_frames_of_the_views() -> None:
    spec = InputSpec("video", (ViewSpec("global", (3, 4, 32, 32)),) * 2)
    encoder = registry.build("encoder", "mean_over_frames", {"encoder": "timm/vit_tiny_patch16_224"}, spec=spec)
    assert encoder.frame.patch_embed.img_size == (32, 32)


def test_mistakes_are_one_sentence() -> None:
    for options, words in (
        ({"encoder": "convnat"}, "unknown encoder 'convnat'; did you mean 'convnet'"),
        ({"encoder": {"name": "convnet", "width": 3}}, "unknown key of encoder 'convnet'"),
        ({"encoder": {"widths": [3]}}, "give the name of an encoder"),
    ):
        with pytest.raises(UserError, match=words):
            registry.build("encoder", "mean_over_frames", options, spec=spec_of_clips())
