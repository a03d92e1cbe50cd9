"""Training an encoder and a linear classifier with labels: what the protocol `fine_tune` and `ssl-zoo finetune` share.

The protocol measures an encoder: all weights at one learning rate, the views of the recipe, a fixed number of steps,
and nothing kept. The command makes a classifier: the linear layer first, learning rates by layer, mild views, early
stopping, and a folder. The batches, the loss and the step are the same and are written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_zoo.batch import View, encode

Mix = Callable[[int, View, Tensor], tuple[View, Tensor]]
"""(step, view, shares of the classes `(B, K)`) -> mixed ones."""


class Classifier(nn.Module):
    """An encoder with a linear classifier.

    Args:
        encoder: view -> h `(B, out_dim)`.
        num_classes: K.
    """

    def __init__(self, encoder: nn.Module, num_classes: int) -> None:
        super().__init__()
        module: Any = encoder
        self.encoder, self.head = encoder, nn.Linear(module.out_dim, num_classes)

    def encode(self, view: View) -> Tensor:
        """Return the scores `(B, K)` of a view."""
        scores: Tensor = self.head(encode(self.encoder, view))
        return scores


def supervised_steps(
    model: Classifier,
    batches: Iterable[tuple[View, Tensor]],
    optimizer: torch.optim.Optimizer,
    factor: Callable[[int], float],
    *,
    half: bool = False,
    mix: Mix | None = None,
) -> Iterator[Tensor]:
    """Take a step of the cross-entropy on each batch, and yield its loss, a detached scalar.

    Args:
        model: it is trained as it is: whoever calls this puts it and its norms into the mode that they are to have.
        batches: views and their labels `(B,)` from 0 to K - 1, on the model's device.
        optimizer: each of its groups has `full`, its full learning rate.
        factor: step, from 0 -> what the rates are multiplied by.
        half: whether the encoder computes in bfloat16.
        mix: mixes the samples of a batch; None leaves them alone.
    """
    for step, (view, y) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = group["full"] * factor(step)
        goal = y
        if mix is not None:
            view, goal = mix(step, view, F.one_hot(y, model.head.out_features).float())
        with torch.autocast(y.device.type, torch.bfloat16, enabled=half):
            scores = model.encode(view)
        loss = F.cross_entropy(scores.float(), goal)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.detach()
