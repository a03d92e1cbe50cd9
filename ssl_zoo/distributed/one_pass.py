"""Several views in one pass of a network, with the result of one pass each.

A layer that computes each sample by itself does not know which view it is of; BatchNorm over all processes is told, and
normalises view by view. `fsdp` gathers weights for each pass, and scatters gradients after it, so that one pass for all
views sends the fewest bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase  # no public names for what norms share

from ssl_zoo.distributed.batch_norm import GlobalBatchNorm

_KNOWN = {"torch", "torchvision", "timm", "ssl_zoo", "lightly", "builtins", "typing", "abc"}
"""Packages whose layers compute each sample by itself, but for norms over a batch; other classes have to say so."""


def is_exact(network: nn.Module) -> bool:
    """Return whether one pass of several views gives what one pass for each does.

    Random numbers, as those of dropout, are others then. A module says by an attribute `mixes_samples` whether its
    output for a sample depends on others. One of a package that is not known here and that says nothing may do so.
    """
    return not any(map(_may_mix, network.modules()))


def _may_mix(module: nn.Module) -> bool:
    said: bool | None = getattr(module, "mixes_samples", None)
    if said is not None:
        return said
    if isinstance(module, _NormBase) and not isinstance(module, GlobalBatchNorm):
        return isinstance(module, _BatchNorm) or module.track_running_stats
    return any(kind.__module__.partition(".")[0] not in _KNOWN for kind in type(module).__mro__)


@contextmanager
def view_by_view(network: nn.Module, num: int) -> Iterator[None]:
    """A context in which BatchNorms over all processes take a batch as `num` views, one after the other."""
    layers = [layer for layer in network.modules() if isinstance(layer, GlobalBatchNorm)]
    before = [layer.num_views for layer in layers]
    for layer in layers:
        layer.num_views = num
    try:
        yield
    finally:
        for layer, former in zip(layers, before, strict=True):
            layer.num_views = former


def allow(method: nn.Module) -> None:
    """Let those parts of a method that can do so compute their views in one pass, where that is exact."""
    parts: list[Any] = [part for part in method.modules() if hasattr(part, "one_pass")]
    for part in parts:
        part.one_pass = all(map(is_exact, (part.encoder, part.projector)))
