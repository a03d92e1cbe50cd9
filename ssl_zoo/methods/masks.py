"""Masks: which places of a view are hidden, as blocks of its grid, drawn for each sample by itself.

A mask is a function of the seed, the optimizer step and the sample's position in the data set. So it is the same with
any number of processes, with gradient accumulation, and in a run that is resumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from ssl_zoo.errors import UserError
from ssl_zoo.parts import Part, StepCounter
from ssl_zoo.rng import derive, hashed_uniform

Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(gt=0)]
NUMBERS = 4
"""Random numbers of a block: area, shape, row and column."""


class Mask(BaseModel):
    """A way to hide places: rectangular blocks of the grid's last two axes, along all of those before (time).

    `blocks` is their number, `scale` the range of a block's area as a part of the grid's, `aspect` that of its height
    over its width. What is visible is a `context` block, square where the grid is, of an area in that range, without
    the hidden blocks; null is the whole grid. Each block is predicted by itself, or all of them at once where `join`
    is true. Where `cover` is given, blocks are added in turn until exactly that part of the grid is hidden, and
    they are joined.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    blocks: Annotated[int, Field(ge=1)] = 4
    scale: tuple[Share, Share] = (0.15, 0.2)
    aspect: tuple[Ratio, Ratio] = (0.75, 1.5)
    context: tuple[Share, Share] | None = None
    join: bool = False
    cover: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Mask:
        for name in ("scale", "aspect", "context"):
            value = getattr(self, name)
            if value is not None and value[0] > value[1]:
                raise ValueError(f"{name}: a range is [least, most], not {list(value)}")
        return self


class Hidden(NamedTuple):
    """Places of a view by their number in the flattened grid; -1 is padding.

    Attributes:
        keep: the visible ones, `(B, K)`.
        places: the hidden ones that are predicted, `(B, S, M)`: S sets, each predicted by itself.
        rows: where `places` is no padding, as positions in it flattened, ascending, `(R,)`.
    """

    keep: Tensor
    places: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Plan:
    """Draws the masks of all views of samples; it holds no tensor, and so may be called in any process.

    Attributes:
        masks: the ways to hide places.
        key: of the random numbers.
        grids: places along each axis, of each view.
    """

    masks: tuple[Mask, ...]
    key: int
    grids: tuple[tuple[int, ...], ...]

    def __call__(self, step: int, index: Tensor) -> dict[str, Tensor]:
        """Return what is hidden from a step on samples, as `drawn_of` reads it.

        Args:
            step: number of optimizer steps done.
            index: `(B,)`, positions of the samples in the data set.
        """
        found: dict[str, Tensor] = {}
        for view, grid in enumerate(self.grids):
            for number, hidden in enumerate(draw(self.masks, self.key + view, step, index, grid)):
                found |= {_name(view, number, field): x for field, x in hidden._asdict().items()}
        return found


def drawn_of(drawn: Mapping[str, Tensor], view: int, num: int) -> list[Hidden]:
    """Return what each of `num` masks hides of a view, of what a `Plan` has drawn."""
    return [Hidden(*(drawn[_name(view, number, field)] for field in Hidden._fields)) for number in range(num)]


def _name(view: int, mask: int, field: str) -> str:
    return f"{field} of mask {mask} of view {view}"


class Masks(Part):
    """Draws masks for a batch.

    Args:
        masks: the ways to hide places; each is a prediction of its own.
        seed: of the recipe.
    """

    key: Tensor

    def __init__(self, masks: Sequence[Mask], seed: int):
        super().__init__()
        self.masks = list(masks)
        self.counter = StepCounter()
        self.register_buffer("key", torch.tensor(derive(seed, "masks")))  # saved, so that a state tells all

    def check(self, grid: Sequence[int]) -> None:
        """Make sure that blocks fit a grid.

        Raises:
            UserError: the grid has one place, or a block would be less than a place.
        """
        height, width = _plane(grid)
        shape = " x ".join(map(str, grid))
        advice = "use smaller patches (encoder.patch) or larger views (views.size)"
        if height * width < 2:
            raise UserError(f"masks: a grid of {shape} places has nothing to hide and to keep; {advice}.")
        for number, mask in enumerate(self.masks):
            if mask.scale[1] * height * width < 1:
                raise UserError(
                    f"masks.{number}.scale: a block of {mask.scale[1]:g} of a grid of {shape} places is less than one "
                    f"place; {advice}, or larger blocks."
                )

    def forward(self, index: Tensor, grid: Sequence[int], view: int = 0) -> list[Hidden]:
        """Return what each mask hides.

        Args:
            index: `(B,)`, positions of the samples in the data set, on the device of this module.
            grid: places along each axis of the view.
            view: number of the view of a sample.
        """
        self.check(grid)
        return draw(self.masks, self.key + view, self.counter.steps, index, grid)


def draw(
    masks: Sequence[Mask], key: int | Tensor, step: int | Tensor, index: Tensor, grid: Sequence[int]
) -> list[Hidden]:
    """Return what each mask hides of a view.

    Args:
        masks: the ways to hide places.
        key: of the random numbers, another one for each view.
        step: number of optimizer steps done.
        index: `(B,)`, positions of the samples in the data set.
        grid: places along each axis of the view.
    """
    sizes = [NUMBERS * (mask.blocks + 1) for mask in masks]
    drawn = hashed_uniform(key, step, index, sum(sizes)).split(sizes, dim=1)
    return [_hide(mask, u.unflatten(1, (-1, NUMBERS)), grid) for mask, u in zip(masks, drawn, strict=True)]


def _plane(grid: Sequence[int]) -> tuple[int, int]:
    """Return height and width of the plane that blocks lie in; a grid of one axis is one row."""
    return (1, grid[0]) if len(grid) == 1 else (grid[-2], grid[-1])


def blocks(u: Tensor, scale: tuple[float, float], aspect: tuple[float, float], grid: Sequence[int]) -> Tensor:
    """Return rectangular blocks of a grid, as booleans `(B, n, N)`.

    Args:
        u: numbers in [0, 1) `(B, n, 4)`: area, shape, row and column of each block.
        scale: range of the area, as a part of the plane's.
        aspect: range of height over width; its logarithm is uniform.
        grid: places along each axis; blocks lie in the last two and go through all others.
    """
    height, width = _plane(grid)
    area = (scale[0] + u[..., 0] * (scale[1] - scale[0])) * height * width
    low, high = math.log(aspect[0]), math.log(aspect[1])
    tall = (area * (low + u[..., 1] * (high - low)).exp()).sqrt().round().clamp(1, height)
    wide = (area / tall).round().clamp(1, width)
    top, left = (u[..., 2] * (height - tall + 1)).floor(), (u[..., 3] * (width - wide + 1)).floor()
    rows, columns = _within(top, tall, height), _within(left, wide, width)
    plane = (rows[..., :, None] & columns[..., None, :]).flatten(2)
    return plane.repeat(1, 1, math.prod(grid) // (height * width))


def _within(start: Tensor, extent: Tensor, side: int) -> Tensor:
    place = torch.arange(side, device=start.device)
    return (place >= start[..., None]) & (place < (start + extent)[..., None])


def _hide(mask: Mask, u: Tensor, grid: Sequence[int]) -> Hidden:
    """Return what a mask hides; u `(B, blocks + 1, 4)`, the last for the context block."""
    hidden = blocks(u[:, :-1], mask.scale, mask.aspect, grid)  # (B, n, N)
    num = hidden.shape[2]
    place = torch.arange(num, device=u.device)
    seen = torch.ones_like(hidden[:, 0])
    if mask.context is not None:
        seen = blocks(u[:, -1:], mask.context, (1.0, 1.0), grid)[:, 0]
    if mask.cover is not None:
        hidden = _covered(hidden, min(max(round(mask.cover * num), 1), num - 1))
    times = hidden.sum(dim=1)
    # One place is always visible. Where blocks leave none, it is the one that the fewest of them hide.
    last = (num * (2 * times + ~seen) + place).argmin(dim=1, keepdim=True) == place
    keep = seen & (times == 0) | last
    if mask.join or mask.cover is not None:
        hidden = hidden.any(dim=1, keepdim=True)
    places = places_of(hidden & ~last[:, None])
    return Hidden(places_of(keep), places, (places.flatten() >= 0).nonzero()[:, 0])


def _covered(hidden: Tensor, goal: int) -> Tensor:
    """Return the places that the blocks `(B, n, N)` hide first, exactly `goal` of them, as one block `(B, 1, N)`.

    The block that passes the goal hides its first rows only. Where all blocks together hide too few, the rest is the
    first rows of the grid.
    """
    _, n, num = hidden.shape
    turn = torch.arange(n, device=hidden.device)[:, None].where(hidden, n).amin(dim=1)
    first = (turn * num + torch.arange(num, device=hidden.device)).topk(goal, dim=1, largest=False).indices
    return torch.zeros_like(hidden[:, 0]).scatter_(1, first, True)[:, None]


def places_of(mask: Tensor) -> Tensor:
    """Return the places `(..., K)` where a mask `(..., N)` is true, ascending, and -1 behind them."""
    most = int(mask.sum(dim=-1).max())  # the shape of what follows: on a GPU the host waits for it
    order = mask.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[..., :most]
    return order.where(mask.gather(-1, order), -1)
