"""A statistic with a memory: mixed with the batch in every forward pass, moved once per optimizer step."""

import torch
from torch import Tensor, nn


class Running(nn.Module):
    """A running mean of batch statistics, as a buffer.

    `mix` gives the statistic that includes the current batch, with gradient through the batch's share; `commit` makes
    the move final. Where several batches are accumulated for one optimizer step, all are mixed with the same old
    value, and the mean of their statistics is committed. Between steps nothing is pending, so that `value` is the whole
    state.

    Args:
        value: what it is before the first step.
        keep: the weight of the old value, in [0, 1].
    """

    value: Tensor
    pending: Tensor

    def __init__(self, value: Tensor, keep: float):
        super().__init__()
        self.keep = keep
        self.register_buffer("value", value)
        self.register_buffer("pending", torch.zeros_like(value), persistent=False)
        self.num_pending = 0

    def mix(self, batch: Tensor) -> Tensor:
        """Return keep * value + (1 - keep) * batch, and note the batch's statistic where the module is in training."""
        if self.training:
            with torch.no_grad():
                self.pending += batch.detach().to(self.pending.dtype)
            self.num_pending += 1
        return self.keep * self.value + (1 - self.keep) * batch

    @torch.no_grad()
    def commit(self) -> None:
        """Move to what the batches since the last call ask for; without any, stay."""
        if self.num_pending:
            self.value.lerp_(self.pending / self.num_pending, 1 - self.keep)
            self.pending.zero_()
            self.num_pending = 0


def commit_all(term: nn.Module) -> None:
    """Commit every running statistic inside a term."""
    for module in term.modules():
        if isinstance(module, Running):
            module.commit()
