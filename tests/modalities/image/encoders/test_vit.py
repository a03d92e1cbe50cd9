"""The vision transformers `vit` and `video_vit`: torch's own layers, positions, places that are left out, errors."""

import math

import pytest
import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.transformer import Block, PatchTransformer, positions
from ssl_zoo.training.activation_checkpointing import recompute_blocks
from tests import contract


def spec(*shape: int, role: str = "global") -> InputSpec:
    return InputSpec("a kind of test", (ViewSpec(role, shape),))


def vit(name: str = "vit", shape: tuple[int, ...] = (3, 8, 8), **options: object) -> PatchTransformer:
    options = {"patch": 4, "width": 12, "depth": 2, "heads": 3, **options}
    torch.manual_seed(0)
    return registry.build("encoder", name, options, spec=spec(*shape)).double()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_block_is_torchs_own_transformer_layer() -> None:
    block = Block(12, 3).double()
    torchs = nn.TransformerEncoderLayer(12, 3, 48, 0.0, nn.functional.gelu, 1e-6, True, norm_first=True).double()
    pairs = {
        torchs.self_attn.in_proj_weight: block.qkv.weight, torchs.self_attn.in_proj_bias: block.qkv.bias,
        torchs.self_attn.out_proj.weight: block.out.weight, torchs.self_attn.out_proj.bias: block.out.bias,
        torchs.linear1.weight: block.mlp[0].weight, torchs.linear1.bias: block.mlp[0].bias,
        torchs.linear2.weight: block.mlp[2].weight, torchs.linear2.bias: block.mlp[2].bias,
    }  # fmt: skip
    with torch.no_grad():
        for theirs, ours in pairs.items():
            theirs.copy_(ours)
    x, valid = noise(4, 5, 12), torch.ones(4, 5, dtype=torch.bool)
    valid[1, 3:] = valid[2, 1:] = False
    torch.testing.assert_close(block(x)[0], torchs(x))
    torch.testing.assert_close(block(x, valid)[0][valid], torchs(x, src_key_padding_mask=~valid)[valid])


@pytest.mark.parametrize("name, shape, grid", [("vit", (3, 8, 12), (2, 3)), ("video_vit", (2, 4, 8, 8), (2, 2, 2))])
def test_features_are_the_mean_of_the_tokens(name: str, shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    encoder, x = vit(name, shape), noise(3, *shape)
    tokens, found = encoder.tokens(View(x))
    assert found == grid == encoder.grid(View(x)) and tokens.shape == (3, math.prod(grid), 12)
    torch.testing.assert_close(tokens.mean(dim=1), encoder(x))


def test_video_vit_keeps_the_contract_of_encoders() -> None:
    shape = spec(3, 8, 16, 16)
    contract.check_encoder("video_vit", contract.Sort(shape, lambda num, channels: torch.zeros(num)))


def test_tokens_are_in_the_order_of_the_grid_with_the_last_axis_fastest() -> None:
    encoder = vit(shape=(1, 8, 12), depth=1)
    x = torch.zeros(1, 1, 8, 12, dtype=torch.float64)
    x[..., 4:, 4:8] = 5.0  # the second row, the second column
    start = encoder._start(View(x))[0] - encoder._start(View(torch.zeros_like(x)))[0]
    assert start[0].abs().sum(dim=1).nonzero().flatten().tolist() == [4]


def test_positions_tell_places_apart_and_have_no_mean() -> None:
    for grid, width in (((4, 4), 16), ((2, 3, 3), 20), ((7,), 8)):
        at = positions(grid, width, torch.zeros(1, dtype=torch.float64))
        assert at.shape == (math.prod(grid), width)
        torch.testing.assert_close(at.mean(dim=0), torch.zeros(width, dtype=torch.float64))
        assert torch.cdist(at, at).fill_diagonal_(9).min() > 0.1
    first, second = positions((1, 2), 4, torch.zeros(1, dtype=torch.float64))  # one frequency: angles 0 and 1
    torch.testing.assert_close(second - first, torch.tensor([0, 0, math.sin(1), math.cos(1) - 1], dtype=torch.float64))


def test_places_that_are_left_out_are_not_seen_and_padding_changes_nothing() -> None:
    encoder, x = vit(shape=(3, 12, 12)), noise(2, 3, 12, 12)
    keep = torch.tensor([[0, 2, 8], [4, 7, -1]])
    tokens, grid = encoder.tokens(View(x), keep=keep)
    assert grid == (3, 3) and tokens.shape == (2, 3, 12)
    alone, _ = encoder.tokens(View(x[1:]), keep=torch.tensor([[4, 7]]))
    torch.testing.assert_close(alone[0], tokens[1, :2])
    every, _ = encoder.tokens(View(x), keep=torch.arange(9).expand(2, -1))
    torch.testing.assert_close(every, encoder.tokens(View(x))[0])
    changed = x.clone()
    changed[0, :, 4:8] += 1  # the middle row, of which the first sample shows nothing
    torch.testing.assert_close(encoder.tokens(View(changed), keep=keep)[0][0], tokens[0], rtol=0, atol=0)


def test_a_token_can_stand_in_for_places_that_are_hidden() -> None:
    encoder, x = vit(shape=(3, 8, 8)), noise(2, 3, 8, 8)
    keep, fill = torch.tensor([[0, 3], [1, -1]]), noise(12)
    tokens, _ = encoder.tokens(View(x), keep=keep, fill=fill)
    hidden = x.clone()
    hidden[0, :, :4, 4:] = hidden[0, :, 4:, :4] = 7.0
    hidden[1, :, :4, :4] = hidden[1, :, 4:] = 7.0
    torch.testing.assert_close(encoder.tokens(View(hidden), keep=keep, fill=fill)[0], tokens, rtol=0, atol=0)
    assert tokens.shape == (2, 4, 12)
    encoder.tokens(View(x), keep=keep, fill=fill.requires_grad_())[0].sum().backward()
    assert fill.grad is not None and fill.grad.abs().sum() > 0


def test_layers_are_what_the_blocks_add() -> None:
    encoder, x = vit(depth=3), noise(2, 3, 8, 8)
    last, whole = encoder.layers(View(x), 2), encoder.layers(View(x), 3)
    assert len(last) == 2 and all(torch.equal(a, b) for a, b in zip(last, whole[1:], strict=True))
    with pytest.raises(UserError, match="has 3 blocks, not 4"):
        encoder.layers(View(x), 4)


def test_blocks_can_be_computed_again_in_the_backward_pass() -> None:
    assert recompute_blocks(vit(depth=3), "vit") == 3


@pytest.mark.parametrize(
    "name, shape, words",
    [
        ("vit", (3, 10, 8), "views.size: 10 is no multiple of the patch size 4; use 8 or 12"),
        ("vit", (3, 4, 8, 8), "takes views of 3 axes, channels first, and not"),
        ("video_vit", (3, 8, 8), "takes views of 4 axes"),
        ("video_vit", (3, 5, 8, 8), "views.num_frames: 5 is no multiple of the patch size 2"),
    ],
)
def test_views_that_do_not_fit_are_named(name: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        vit(name, shape)


def test_a_view_of_another_size_is_checked_too() -> None:
    assert vit()(noise(1, 3, 16, 16)).shape == (1, 12)
    with pytest.raises(UserError, match="18 is no multiple"):
        vit()(noise(1, 3, 18, 16))
