"""The pairing `nearest_neighbour`: predict a similar sample from a memory, instead of the other view itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import Pairs, View
from ssl_zoo.distributed import collectives
from ssl_zoo.errors import UserError
from ssl_zoo.pairing.view_pairs import AllPairs, Reduce
from ssl_zoo.parts import Pairing, Pending, Prediction
from ssl_zoo.registry import register


@register("pairing", "nearest_neighbour")
class NearestNeighbour(Pairing):
    """Every view predicts the nearest neighbours, in a queue of past targets, of the other views' targets.

    Dwibedi et al. 2021 (NNCLR, arXiv 2104.14548, section 3). A neighbour is the entry with the largest cosine and has
    unit length; no gradient passes it. The queue starts empty, and a target is then its own neighbour. After each
    optimizer step the step's targets of the first view, of all processes, take the place of the oldest entries, so the
    queue is the same on every process.

    Args:
        dim: width of the targets.
        size: targets that the queue holds.
        reduce: `mean` over the pairs or their `sum`.
    """

    depends_on_length = False

    queue: Tensor
    seen: Tensor

    def __init__(self, dim: int, *, size: Annotated[int, Field(ge=1)] = 65536, reduce: Reduce = "mean"):
        super().__init__()
        self.size = size
        self.pairs = AllPairs(reduce=reduce)
        self.register_buffer("queue", torch.zeros(size, dim))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self._pending = Pending()

    @torch.no_grad()
    def neighbours(self, t: Tensor) -> Tensor:
        """Return the nearest entry of the queue, `(B, D)`, for each of t `(B, D)`; t's direction if it is empty."""
        with torch.autocast(t.device.type, enabled=False):
            unit = F.normalize(t.to(self.queue.dtype), dim=1)
            empty = torch.arange(self.size, device=t.device) >= self.seen
            nearest = (unit @ self.queue.T).masked_fill(empty, -torch.inf).argmax(dim=1)
            return torch.where(self.seen > 0, self.queue[nearest], unit).to(t.dtype)

    def forward(self, p: Sequence[Prediction], t: Sequence[Tensor | None], views: Sequence[View]) -> Pairs:
        """Pair predictions p with neighbours of targets t, one entry per view; None where a view is no target.

        Raises:
            UserError: views of several members.
        """
        if len({view.modality for view in views}) > 1:
            raise UserError("pairing nearest_neighbour: its queue holds targets of one modality; use cross_modal.")
        first = next((x for x in t if x is not None), None)
        if self.training and first is not None:
            unit = F.normalize(first.detach().to(self.queue.dtype), dim=1)
            self._pending.note(collectives.gather(unit))
        return self.pairs(p, [None if x is None else self.neighbours(x) for x in t], views)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Put the step's targets into the queue."""
        noted = self._pending.take()
        if not noted:
            return
        new = torch.cat(noted)[-self.size :]
        place = (self.seen + torch.arange(len(new), device=new.device)) % self.size
        self.queue[place] = new
        self.seen += len(new)
