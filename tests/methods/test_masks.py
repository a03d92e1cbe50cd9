"""Hashed random numbers and the masks that are made of them: for each sample by itself, blocks as the papers say."""

import pickle

import pytest
import torch
from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.methods.masks import Hidden, Mask, Masks, Plan, blocks, drawn_of, places_of
from ssl_zoo.recipe.load import load_recipe
from ssl_zoo.rng import hashed_uniform

I_JEPA = Mask(context=(0.85, 1.0))
V_JEPA = (Mask(blocks=8, scale=(0.15, 0.15), join=True), Mask(blocks=2, scale=(0.7, 0.7), join=True))
DATA2VEC = Mask(blocks=16, scale=(0.08, 0.4), aspect=(0.3, 3.3), cover=0.6)


def drawn(mask: Mask | tuple[Mask, ...], grid: tuple[int, ...], num: int = 500, step: int = 0) -> list[Hidden]:
    masks = Masks([mask] if isinstance(mask, Mask) else mask, seed=0)
    for _ in range(step):
        masks.after_step(0.0)
    return masks(torch.arange(num), grid)


def as_mask(places: Tensor, num: int) -> Tensor:
    """Return places `(..., K)` as booleans `(..., num)`."""
    return torch.stack([(places == place).any(dim=-1) for place in range(num)], dim=-1)


def test_hashed_numbers_are_uniform_and_do_not_know_their_neighbours() -> None:
    u = torch.stack([hashed_uniform(12345, step, torch.arange(400), 40) for step in range(4)]).double()  # (4, 400, 40)
    assert u.min() >= 0 and u.max() < 1
    for power in (1, 2, 3, 4):
        assert u.pow(power).mean() == pytest.approx(1 / (power + 1), abs=0.004)
    assert torch.histc(u, 20, 0, 1) == pytest.approx(torch.full((20,), u.numel() / 20.0), rel=0.08)
    centred = u - 0.5
    for axis, length in enumerate(u.shape):
        near, far = centred.narrow(axis, 0, length - 1), centred.narrow(axis, 1, length - 1)
        assert abs(12 * (near * far).mean()) < 0.02
    other = hashed_uniform(12346, 0, torch.arange(400), 40).double() - 0.5
    assert abs(12 * (other * centred[0]).mean()) < 0.03
    assert len(u.unique()) > 0.99 * u.numel()


def test_hashed_numbers_are_those_of_the_sample_whatever_the_batch() -> None:
    index = torch.tensor([7, 2**40, 0, 123])
    u = hashed_uniform(-5, torch.tensor(3), index, 6)
    for i in range(4):
        assert torch.equal(hashed_uniform(-5, 3, index[i : i + 1], 6)[0], u[i])
    assert torch.equal(hashed_uniform(torch.tensor(-5), 3, index, 4), u[:, :4])


def test_hashed_numbers_are_splitmix64() -> None:
    """The same in Python's own integers, which do not wrap around."""
    whole = 2**64

    def mix(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % whole
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % whole
        return x ^ (x >> 31)

    golden, key = 0x9E3779B97F4A7C15, 2**62 + 17
    u = hashed_uniform(key, 5, torch.tensor([3]), 2)
    for j in (1, 2):
        state = mix((mix((mix((key + 5 * golden) % whole) + golden * 4) % whole) + golden * j) % whole)
        assert u[0, j - 1].item() == (state >> 40) / 2**24


def test_blocks_have_the_area_and_the_shape_that_is_asked_for() -> None:
    u = hashed_uniform(1, 0, torch.arange(2000), 4)[:, None]
    made = blocks(u, (0.15, 0.2), (0.75, 1.5), (14, 14)).unflatten(2, (14, 14))[:, 0]
    tall, wide = made.any(dim=2).sum(dim=1), made.any(dim=1).sum(dim=1)
    assert torch.equal(made.flatten(1).sum(dim=1), tall * wide)  # rectangles
    assert set(tall.tolist()) == {5, 6, 7, 8} and set(wide.tolist()) == {4, 5, 6, 7, 8}
    area = (tall * wide / 196.0).mean()
    assert area == pytest.approx(0.175, abs=0.003)
    assert made.float().mean(dim=0)[5:9, 5:9].min() > 0.2 and made[:, 0, 0].any() and made[:, -1, -1].any()


def test_blocks_go_through_all_frames_and_lie_in_a_row_where_there_is_one_axis() -> None:
    u = hashed_uniform(1, 0, torch.arange(50), 4)[:, None]
    clip = blocks(u, (0.7, 0.7), (0.75, 1.5), (4, 6, 6)).unflatten(2, (4, 36))
    assert (clip == clip[:, :, :1]).all()
    assert torch.equal(clip[:, :, 0], blocks(u, (0.7, 0.7), (0.75, 1.5), (6, 6)))
    row = blocks(u, (0.25, 0.25), (0.75, 1.5), (16,))
    assert (row.sum(dim=2) == 4).all() and (row.int().diff(dim=2).abs().sum(dim=2) <= 2).all()


def test_i_jepas_context_is_a_large_block_without_the_four_targets() -> None:
    (hidden,) = drawn(I_JEPA, (14, 14))
    keep, targets = as_mask(hidden.keep, 196), as_mask(hidden.places, 196)
    assert targets.shape == (500, 4, 196)
    assert not (keep & targets.any(dim=1)).any()
    assert targets.sum(dim=2).float().mean() == pytest.approx(0.175 * 196, abs=1)
    seen = keep.sum(dim=1)
    assert seen.min() >= 30 and seen.float().mean() == pytest.approx(90, abs=8)
    assert len({tuple(row) for row in hidden.keep.tolist()}) == 500


def test_v_jepas_masks_hide_most_of_a_clip_in_one_piece_for_each() -> None:
    short, long = drawn(V_JEPA, (4, 14, 14), num=40)
    for hidden in (short, long):
        keep, target = as_mask(hidden.keep, 4 * 196), as_mask(hidden.places, 4 * 196)[:, 0]
        assert hidden.places.shape[1] == 1 and torch.equal(keep, ~target)
        assert 0.6 < target.float().mean() < 0.97
        assert (target.unflatten(1, (4, 196)) == target.unflatten(1, (4, 196))[:, :1]).float().mean() > 0.999


@pytest.mark.parametrize("grid", [(14, 14), (6, 6), (3, 5), (20,)])
def test_data2vec_hides_the_same_number_in_every_sample(grid: tuple[int, ...]) -> None:
    (hidden,) = drawn(DATA2VEC, grid)
    num = torch.tensor(grid).prod().item()
    assert hidden.places.shape == (500, 1, round(0.6 * num)) and hidden.keep.shape == (500, num - round(0.6 * num))
    assert (hidden.keep >= 0).all() and (hidden.places >= 0).all()
    both = torch.cat([hidden.keep, hidden.places[:, 0]], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(num).expand(500, -1))


@pytest.mark.parametrize("mask", [I_JEPA, *V_JEPA, DATA2VEC, Mask(blocks=9, scale=(1.0, 1.0), context=(0.1, 0.2))])
@pytest.mark.parametrize("grid", [(2, 4), (3, 3), (2, 4, 4), (7,)])
def test_a_place_is_always_visible_and_none_is_predicted_that_is(mask: Mask, grid: tuple[int, ...]) -> None:
    (hidden,) = drawn(mask, grid)
    num = torch.tensor(grid).prod().item()
    keep, targets = as_mask(hidden.keep, num), as_mask(hidden.places, num)
    assert keep.any(dim=1).all() and not (keep[:, None] & targets).any()
    assert (hidden.keep < num).all() and (hidden.keep >= -1).all()


def test_a_mask_is_that_of_sample_and_step_whatever_the_batch() -> None:
    masks = Masks([I_JEPA], seed=3)

    def of(index: list[int], view: int = 0) -> list[tuple[list[int], list[list[int]]]]:
        (hidden,) = masks(torch.tensor(index), (6, 6), view)
        drop = [[place for place in row if place >= 0] for row in hidden.keep.tolist()]
        sets = [[[place for place in row if place >= 0] for row in each] for each in hidden.places.tolist()]
        return list(zip(drop, sets, strict=True))

    first = of([5, 900, 31])
    assert of([900]) + of([5]) == [first[1], first[0]] and of([5], view=1) != first[:1]
    masks.after_step(0.1)
    second = of([5, 900, 31])
    assert second != first
    resumed = Masks([I_JEPA], seed=4)
    resumed.load_state_dict(masks.state_dict())
    masks = resumed
    assert of([5, 900, 31]) == second


def test_what_the_loader_draws_is_what_a_forward_pass_would() -> None:
    """In another process too, to which the plan is sent; rows are where nothing is padding."""
    masks, index = Masks(V_JEPA, seed=3), torch.tensor([5, 900, 31])
    masks.after_step(0.1)
    grids = ((2, 6, 6), (2, 4, 4))
    plan = pickle.loads(pickle.dumps(Plan(V_JEPA, int(masks.key), grids)))
    drawn = plan(1, index)
    for view, grid in enumerate(grids):
        for ours, theirs in zip(masks(index, grid, view), drawn_of(drawn, view, 2), strict=True):
            assert all(map(torch.equal, ours, theirs)) and len(ours) == len(theirs) == 3
            assert torch.equal(ours.places.flatten()[ours.rows], ours.places[ours.places >= 0])


def test_places_are_ascending_with_padding_behind() -> None:
    mask = torch.tensor([[True, False, True, True], [False, False, True, False]])
    assert places_of(mask).tolist() == [[0, 2, 3], [2, -1, -1]]


def test_what_does_not_fit_is_said_when_the_recipe_is_checked() -> None:
    from ssl_zoo.methods.check import check_recipe

    def error(*overrides: str, method: str = "i_jepa") -> str:
        sizes = ["encoder.width=24", "encoder.depth=2"] if overrides[0] != "encoder=convnet" else []
        with pytest.raises(UserError) as caught:
            check_recipe(load_recipe(method, [*sizes, *overrides]))
        return str(caught.value)

    assert "a block of 0.2 of a grid of 2 x 2 places is less than one place" in error("views.size=32")
    assert "a grid of 1 x 1 places has nothing to hide" in error("views.size=16")
    assert "views.size: 225 is no multiple of the patch size 16; use 224 or 240" in error("views.size=225")
    assert "the encoder ConvNet cannot hide places" in error("encoder=convnet")
    assert "scale: a range is [least, most], not [0.5, 0.1]" in error("masks.0.scale=[0.5, 0.1]")
    assert "cover" in error("masks.0.cover=1.5", method="data2vec")
    assert "has 2 blocks, not 3" in error("target_blocks=3", method="data2vec")
    assert "ends in 5 dimensions but must predict the encoder's 24" in error("predictor={name: linear, dim: 5}")
    assert "predictor: BatchNorm would mix" in error("predictor={name: mlp, dims: [8, 24]}")
    assert "objective.cross_correlation: compares the samples" in error("objective=cross_correlation")
    assert "has no use for local ones" in error("views={name: multi_crop}")
    assert "7 do not divide the width of 24; use 6 or 8" in error("encoder.heads=7")
