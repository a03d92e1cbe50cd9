"""A picture of what the model really sees: for the board, the report and `ssl-zoo views`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.data import Split
from ssl_zoo.rng import generator


def picture_of_views(split: Split, policy: nn.Module, seed: int, samples: int = 8) -> Tensor:
    """Return a grid of samples and their views as a picture `(3, H, W)`, uint8.

    Args:
        split: where the samples come from; the first of a seeded shuffle are shown.
        policy: the view policy; its `picture` arranges the grid.
        seed: of the shuffle and of the views.
        samples: how many rows.
    """
    order = torch.randperm(len(split), generator=generator(seed, "picture"))[:samples]
    params = policy.draw(generator(seed, "picture", 1), len(order))
    images: Any = [split.read(int(i)) for i in order]
    if len({image.shape for image in images}) == 1:
        images = torch.stack(images)
    return policy.picture(images, policy(policy.collate(images, params)))
