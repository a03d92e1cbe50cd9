"""Gradient checkpointing: an encoder's blocks keep their input only, and are computed again in the backward pass.

Memory for activations falls to about that of one block and of the blocks' inputs; a step takes about a third longer
(Chen et al. 2016, arXiv:1604.06174). The result is the same bit for bit: random numbers are drawn again as they were,
and running statistics are not moved a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from ssl_zoo.distributed.batch_norm import GlobalBatchNorm
from ssl_zoo.distributed.blocks import blocks as blocks_of
from ssl_zoo.errors import UserError


def recompute_blocks(encoder: nn.Module, name: str) -> int:
    """Make the blocks of an encoder recompute their activations in the backward pass.

    What a block is: `ssl_zoo.distributed.blocks`.

    Args:
        encoder: changed in place; its parameters and their names stay as they are.
        name: of the encoder, for the message.

    Returns:
        How many blocks there are.

    Raises:
        UserError: there are none.
    """
    blocks = list(blocks_of(encoder))
    if not blocks:
        raise UserError(
            f"training.gradient_checkpointing: encoder {name!r} has no blocks (modules of several parts in a "
            "Sequential or ModuleList) to recompute; leave it false."
        )
    for block in blocks:
        block.__class__ = _recomputing(type(block))
    return len(blocks)


_KINDS: dict[type[nn.Module], type[nn.Module]] = {}


def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    """Return a class of modules like `kind` whose forward is a checkpoint. A class, so that copies of a module work."""

    def forward(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        num_views = {m: m.num_views for m in self.modules() if isinstance(m, GlobalBatchNorm)}

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _as_before(self, num_views)

        return checkpoint(partial(kind.forward, self), *inputs, use_reentrant=False, context_fn=contexts, **named)

    if kind not in _KINDS:
        _KINDS[kind] = type(kind.__name__, (kind,), {"forward": forward})
    return _KINDS[kind]


@contextmanager
def _as_before(module: nn.Module, num_views: Mapping[GlobalBatchNorm, int]) -> Iterator[None]:
    """A context to compute a block once more, in which its BatchNorms take as many views at a time as before."""
    for norm, num in num_views.items():
        norm.num_views = num
    try:
        with _statistics_stay(module):
            yield
    finally:
        for norm in num_views:
            norm.num_views = 1


@contextmanager
def _statistics_stay(module: nn.Module) -> Iterator[None]:
    """Let BatchNorms in training mode normalise as ever, but not move their running statistics."""
    # torch has no public name for what the BatchNorms of all dimensions have in common.
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    before = [(m.momentum, None if m.num_batches_tracked is None else m.num_batches_tracked.clone()) for m in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if tracked is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(tracked)
