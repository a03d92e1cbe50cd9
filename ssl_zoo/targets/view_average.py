"""The target `view_average`: a moving average over the views of each sample (Chen & He 2021, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.distributed import collectives
from ssl_zoo.errors import UserError
from ssl_zoo.parts import Pending, Target
from ssl_zoo.registry import register


@register("target", "view_average")
class ViewAverage(Target):
    """t is the average of the sample's embeddings over the views that it has had so far, without gradient.

    eta <- momentum eta + (1 - momentum) z (Chen & He 2021, arXiv 2011.10566, section 5): a sum over steps in place of
    the expectation over augmentations, which is what the paper takes the predictor for. So it is meant for recipes
    without one (`predictor: identity`). The target of a view is this mean with its own z; what is kept after the step
    is the mean with that of the sample's global views. A sample that has not been seen before is its own target.

    It keeps one row for each sample of the data set that has been seen, in a buffer of 4 N D bytes, so that it resumes
    exactly; it knows the sample by `View.aux["index"]`.

    Args:
        momentum: the weight of the past, in [0, 1); 0 is the target `stop_gradient`.
    """

    depends_on_length = False
    mean: Tensor
    known: Tensor

    def __init__(self, *, momentum: Annotated[float, Field(ge=0, lt=1)] = 0.8):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(0, 0))
        self.register_buffer("known", torch.zeros(0, dtype=torch.bool))
        self._indices, self._pending = Pending(), Pending()

    def forward(self, views: Sequence[View], z: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the targets `(B, D)` of the global views, and note what they add to the averages.

        Raises:
            UserError: the views do not say which samples they are of.
        """
        targets = [x.detach() for view, x in zip(views, z, strict=True) if view.is_target]
        if not targets:
            return [None for _ in views]
        if "index" not in views[0].aux:
            raise UserError(
                "target view_average: the batch does not say which samples it holds; make it as Batch(views, index), "
                "index being their positions in the data set."
            )
        index = views[0].aux["index"].to(targets[0].device)
        if self.training:
            self._indices.note(collectives.gather(index))
            self._pending.note(collectives.gather(torch.stack(targets).mean(dim=0).to(self.mean.dtype)))
        mixed = iter([self._mixed(index, x) for x in targets])
        return [next(mixed) if view.is_target else None for view in views]

    def _mixed(self, index: Tensor, z: Tensor) -> Tensor:
        """Return the averages of samples with z `(B, D)`; z where a sample has none."""
        if not len(self.known):
            return z
        row = index.clamp(max=len(self.known) - 1)
        seen = self.known[row] & (index == row)
        mixed = self.momentum * self.mean[row] + (1 - self.momentum) * z
        return torch.where(seen[:, None], mixed, z).to(z.dtype)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the averages of the step's samples, of all processes, towards the mean of their views."""
        super().after_step(progress)
        noted, values = self._indices.take(), self._pending.take()
        if not noted:
            return
        index, row = torch.cat(noted).unique(return_inverse=True)
        z = torch.cat(values)
        sums = z.new_zeros(len(index), z.shape[1]).index_add_(0, row, z)
        z = sums / row.bincount(minlength=len(index))[:, None]  # a sample may come twice in a step of several batches
        self._reach(int(index[-1]) + 1, z.shape[1])
        self.mean[index] = self._mixed(index, z)
        self.known[index] = True

    def _reach(self, rows: int, width: int) -> None:
        """Make room for samples at positions below `rows`."""
        old = len(self.known)
        if rows > old:
            mean = self.mean.new_zeros(rows, width)
            if old:
                mean[:old] = self.mean
            self.mean, self.known = mean, torch.cat([self.known, self.known.new_zeros(rows - old)])

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Take the size of the buffers from what is loaded."""
        for name in ("mean", "known"):
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_zeros(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
