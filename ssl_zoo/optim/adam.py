"""The optimizer `adam`, whose weight decay is an L2 penalty inside the gradient."""

from typing import Any

import torch

from ssl_zoo.optim.optimizers import Decay, Fraction, own_keys
from ssl_zoo.registry import register


@register("optimizer", "adam")
def adam(
    groups: list[dict[str, Any]], *, beta1: Fraction = 0.9, beta2: Fraction = 0.999, weight_decay: Decay = 0.0
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980), with weight decay as an L2 penalty.

    Args:
        groups: parameter groups.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        weight_decay: L2 penalty, where a group does not set its own.
    """
    return torch.optim.Adam(own_keys(groups), lr=0.0, betas=(beta1, beta2), weight_decay=weight_decay)
