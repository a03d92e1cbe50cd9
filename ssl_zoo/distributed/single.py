"""One process: the method as it is."""

from __future__ import annotations

import torch

from ssl_zoo.distributed.precision import Precision
from ssl_zoo.distributed.strategy import Unsharded
from ssl_zoo.errors import UserError
from ssl_zoo.registry import register


@register("strategy", "single")
class Single(Unsharded):
    """One process trains the whole method.

    Args:
        device: of the process.
        precision: of the arithmetic.
        num_processes: must be 1.

    Raises:
        UserError: there are more.
    """

    def __init__(self, device: torch.device, precision: Precision, num_processes: int):
        if num_processes > 1:
            raise UserError(
                f"training.strategy: single trains in one process, and there are {num_processes}; use auto or ddp."
            )
        super().__init__(device, precision)
