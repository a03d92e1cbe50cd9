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
from ssl_zoo.hardware import without_autocast
from ssl_zoo.pairing.view_pairs import AllPairs, Reduce
from ssl_zoo.parts import Pairing, Prediction
from ssl_zoo.registry import register


@register("pairing", "nearest_neighbour")
class NearestNeighbour(Pairing):
    """Every view predicts the nearest neighbours, in a queue of past targets, of the other views' targets.

    Dwibedi et al. 2021 (NNCLR, arXiv 2104.14548, section 3). A neighbour is the entry with the largest cosine and has
    unit length; no gradient passes it. The queue starts empty, and a target is then its own neighbour. After each
    optimizer step the step's targets of the first view, of all processes, take the place of the oldest entries, so the
    queue is the same on every process. A second buffer holds those of the current step.

    Args:
        dim: width of the targets.
        batch_size: samples of an optimizer step, of all processes; of more targets than that, the last ones join the
            queue. None is as many as it holds.
        size: targets that the queue holds.
        reduce: `mean` over the pairs or their `sum`.
    """

    depends_on_length = False

    queue: Tensor
    seen: Tensor
    arrived: Tensor
    num_arrived: Tensor

    def __init__(
        self,
        dim: int,
        batch_size: int | None = None,
        *,
        size: Annotated[int, Field(ge=1)] = 65536,
        reduce: Reduce = "mean",
    ):
        super().__init__()
        most = size if batch_size is None else min(size, batch_size)
        self.size = size
        self.pairs = AllPairs(reduce=reduce)
        self.register_buffer("queue", torch.zeros(size, dim))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        # Those of the current step, which join the queue at its end: no checkpoint needs them.
        self.register_buffer("arrived", torch.zeros(most, dim), persistent=False)
        self.register_buffer("num_arrived", torch.zeros((), dtype=torch.long), persistent=False)

    @torch.no_grad()
    def neighbours(self, t: Tensor) -> Tensor:
        """Return the nearest entry of the queue, `(B, D)`, for each of t `(B, D)`; t's direction if it is empty."""
        with without_autocast(t.device):
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
            self._note(collectives.gather(F.normalize(first.detach().to(self.queue.dtype), dim=1)))
        return self.pairs(p, [None if x is None else self.neighbours(x) for x in t], views)

    @torch.no_grad()
    def _note(self, unit: Tensor) -> None:
        """Keep targets `(B, D)` until the end of the step; of more than a step brings, the last ones."""
        latest = unit[-len(self.arrived) :]
        place = torch.arange(len(unit) - len(latest), len(unit), device=unit.device)
        self.arrived[(self.num_arrived + place) % len(self.arrived)] = latest
        self.num_arrived += len(unit)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Put the step's targets into the queue."""
        # How many there are is known to the device alone, and reading it would make the host wait for a GPU.
        known, most = self.num_arrived.device.type == "cpu", len(self.arrived)
        self._join(min(int(self.num_arrived), most) if known else most)

    def _join(self, most: int) -> None:
        """Let the targets of the step, at most `most`, take the place of the oldest entries."""
        place, held = torch.arange(most, device=self.queue.device), len(self.arrived)
        new = self.num_arrived.clamp(max=held)
        number = place + held * ((self.num_arrived - 1 - place) // held)  # of the last target that was put there
        rows = (self.seen + number + new - self.num_arrived) % self.size
        self.queue[rows] = torch.where((place < new)[:, None], self.arrived[:most], self.queue[rows])
        self.seen += new
        self.num_arrived.zero_()
