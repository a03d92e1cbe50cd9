"""What the terms of an objective are given of embeddings: in float32, those of one process or of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ssl_zoo.distributed import collectives

ONE_BY_ONE = 2
"""Views that are not stacked for a set term: a product of several matrices at once is rounded in another way than that
of each, and for two there is little to gain."""


def full(x: Tensor) -> Tensor:
    """Half precision becomes float32; float64 stays, so that gradients can be checked."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class Seen:
    """Embeddings as a term sees them; what several terms of one forward pass ask for is made once.

    Tensors are known by identity.

    Args:
        whole: of the batches of all processes, in the order of their ranks; else of the one of this process.
    """

    def __init__(self, whole: bool):
        self.whole = whole
        self._known: dict[tuple[int, ...], tuple[Sequence[Tensor], Tensor]] = {}  # arguments are kept for their ids

    def one(self, x: Tensor) -> Tensor:
        """Return x `(B, D)`."""
        return self._once([x], lambda: collectives.gather(full(x)) if self.whole else full(x))

    def all(self, views: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return the views `(B, D)` as one tensor `(V, B, D)`; as a list where they are few or of several shapes."""
        if len(views) <= ONE_BY_ONE or not _alike(views):
            return [self.one(x) for x in views]
        if self.whole and collectives.num_processes() > 1:  # one message for all views
            return self._once(views, lambda: collectives.gather(full(torch.stack(list(views), dim=1))).transpose(0, 1))
        return self._once(views, lambda: full(torch.stack(list(views))))

    def pairs(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor] | None:
        """Return the p and the t of all pairs, each `(num, B, D)`; None where there is one, or several shapes."""
        p, t = zip(*pairs, strict=True)
        if self.whole or len(pairs) == 1 or not (_alike(p) and _alike(t) and p[0].shape == t[0].shape):
            return None
        return _side(p), _side(t)

    def _once(self, xs: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
        key = tuple(map(id, xs))
        if key not in self._known:
            self._known[key] = (xs, make())
        return self._known[key][1]


def _side(xs: Sequence[Tensor]) -> Tensor:
    """Return one side of all pairs; where it is one tensor in all of them, without copies of it."""
    if all(x is xs[0] for x in xs):
        return full(xs[0]).expand(len(xs), *xs[0].shape)
    return full(torch.stack(list(xs)))


def _alike(xs: Sequence[Tensor]) -> bool:
    return len({(x.shape, x.dtype) for x in xs}) == 1


def over_views(formula: Callable[[Tensor], Tensor], z: Sequence[Tensor] | Tensor) -> Tensor:
    """Return the value of a formula for each view, `(V,)`; views that are one tensor are computed at once.

    Args:
        formula: embeddings `(..., B, D)` -> `(...)`.
        z: embeddings of the views, each `(B, D)`.
    """
    return formula(z) if isinstance(z, Tensor) else torch.stack([formula(x) for x in z])


def stacked(z: Sequence[Tensor] | Tensor) -> Tensor:
    """Return the embeddings of all views as one tensor `(V, B, D)`."""
    return z if isinstance(z, Tensor) else torch.stack(list(z))
