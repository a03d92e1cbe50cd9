"""The pairing `to_mean`: every view is compared with the mean of all targets."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_zoo.pairing.view_pairs import Pairs, Reduce, _scale
from ssl_zoo.registry import register


@register("pairing", "to_mean")
class ToMean(nn.Module):
    """Every view is compared with the mean of the targets of all views, its own among them.

    With the target `shared` the gradient flows through the view and through the mean (EMP-SSL, Tong et al. 2023,
    arXiv 2304.03977; LeJEPA, Balestriero & LeCun 2025, arXiv 2511.08544).

    Args:
        reduce: `mean` over the views, or their `sum`.
        normalise: bring every target to unit length before the mean is taken (EMP-SSL, whose network ends so).
    """

    def __init__(self, *, reduce: Reduce = "mean", normalise: bool = False):
        super().__init__()
        self.reduce: Reduce = reduce
        self.normalise = normalise

    def forward(self, p: Sequence[Tensor], t: Sequence[Tensor | None]) -> Pairs:
        """Pair predictions p with the mean target, lists with one entry a view; t is None where a view is no target.

        Raises:
            ValueError: no view is a target.
        """
        targets = [y for y in t if y is not None]
        if not targets:
            raise ValueError("to_mean needs a view that is a target")
        if self.normalise:
            targets = [F.normalize(y, dim=1) for y in targets]
        centre = torch.stack(targets).mean(0)
        return _scale(self.reduce, [(x, centre) for x in p])
