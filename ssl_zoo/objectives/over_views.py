"""A formula of one view's embeddings, for all views."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ONE_BY_ONE = 2
"""Views that are not stacked: a product of several matrices at once is rounded in another way than that of each, and
for two there is little to gain."""


def over_views(formula: Callable[[Tensor], Tensor], z: Sequence[Tensor]) -> Tensor:
    """Return the value of a formula for each view, `(V,)`; many views are stacked, so that few kernels are launched.

    Args:
        formula: embeddings `(..., B, D)` -> `(...)`.
        z: embeddings of V views, each `(B, D)`.
    """
    if len(z) <= ONE_BY_ONE:
        return torch.stack([formula(x) for x in z])
    return formula(torch.stack(list(z)))
