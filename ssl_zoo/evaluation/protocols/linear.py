"""Protocol `linear`: a linear classifier on frozen features, its learning rate chosen on held-out train samples."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.optim.schedules import half_cosine
from ssl_zoo.registry import register
from ssl_zoo.rng import generator

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
HELD_OUT = 0.2
"""The fraction of the train samples of each class that the learning rate is chosen on."""


def train_classifiers(
    data: Features,
    num_classes: int,
    lrs: Sequence[float],
    steps: int,
    batch_size: int,
    seed: int,
    weight_decays: Sequence[float] = (),
) -> Tensor:
    """Train one softmax classifier per learning rate, all at once on the same batches.

    AdamW, from zero weights, cosine decay to 0. Adam works number by number, so the classifiers do
    not influence each other.

    Args:
        data: standardised features with labels.
        num_classes: K.
        lrs: learning rates, one per classifier.
        steps: number of optimizer steps.
        batch_size: samples per step; smaller data is used whole.
        seed: of the order of the samples.
        weight_decays: of each classifier, decoupled (arXiv 1711.05101), not of its bias; none are zeros.

    Returns:
        Weights `(len(lrs), D + 1, K)`; the last row is the bias.
    """
    num, dim = data.x.shape
    weights = data.x.new_zeros(dim + 1, len(lrs) * num_classes)
    gradient, mean, square = (torch.zeros_like(weights) for _ in range(3))
    rates = data.x.new_tensor(lrs).repeat_interleave(num_classes)  # of each column
    decays = data.x.new_tensor(weight_decays or [0.0] * len(lrs)).repeat_interleave(num_classes)
    source, size = generator(seed, "linear"), min(batch_size, num)
    order, used = torch.randperm(num, generator=source).to(data.x.device), 0
    for step in range(steps):
        if used + size > num:
            order, used = torch.randperm(num, generator=source).to(data.x.device), 0
        index, used = order[used : used + size], used + size
        x, y = data.x[index], data.labels[index]
        scores = torch.addmm(weights[-1], x, weights[:-1]).view(size, len(lrs), num_classes).softmax(dim=2)
        # The gradient of each classifier's mean cross-entropy, by hand: autograd and an optimizer with a group per
        # classifier take longer than the arithmetic.
        error = (scores - F.one_hot(y, num_classes)[:, None]).flatten(1).div_(size)
        torch.mm(x.T, error, out=gradient[:-1])
        torch.sum(error, dim=0, out=gradient[-1])
        if any(weight_decays):
            weights[:-1].mul_(1 - rates * half_cosine(step / steps) * decays)
        _adam_step(weights, gradient, mean, square, rates * half_cosine(step / steps), step + 1)
    return weights.view(dim + 1, len(lrs), num_classes).transpose(0, 1).contiguous()


def _adam_step(weights: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, rates: Tensor, step: int) -> None:
    """Move weights as Adam does (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1), each column at its own rate."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = (square / (1 - beta2**step)).sqrt_().add_(eps)
    weights.sub_((mean / scale).mul_(rates / (1 - beta1**step)))


def predict(weights: Tensor, x: Tensor) -> Tensor:
    """Return the class indices `(G, N)` that classifiers `(G, D + 1, K)` give features `(N, D)`."""
    return torch.stack([torch.addmm(w[-1], x, w[:-1]).argmax(dim=1) for w in weights])


@register("protocol", "linear")
class Linear(EvaluationProtocol):
    """Top-1 of a linear softmax classifier on features standardised by the train mean and standard deviation.

    Features are computed once, without augmentation, and the encoder is not touched. All learning rates are trained at
    once on a part of the train samples (`1 - HELD_OUT` of each class), the best on the rest is chosen (the smallest of
    equals), and a classifier with it is trained on all train samples and tested once: test labels have no part in any
    choice. AdamW, zero initial weights, cosine decay to 0; weight decay is none, or chosen with the rate.

    Args:
        lrs: the learning rates to choose from.
        epochs: passes over the train samples; also the passes of the sweep over its part.
        max_steps: at most so many optimizer steps, which bounds the time on large data.
        batch_size: samples per step.
        seed: of the held-out part and of the order of samples.
        weight_decays: those to choose from, with each learning rate.
    """

    needs_labels = True

    def __init__(
        self,
        *,
        lrs: Annotated[list[Rate], Field(min_length=1)] = [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2],  # noqa: B006
        epochs: Annotated[int, Field(ge=1)] = 100,
        max_steps: Annotated[int, Field(ge=1)] = 3000,
        batch_size: Annotated[int, Field(ge=1)] = 256,
        seed: Annotated[int, Field(ge=0)] = 0,
        weight_decays: Annotated[list[Decay], Field(min_length=1)] = [0.0],  # noqa: B006
    ):
        self.grid = [(lr, decay) for lr in sorted(lrs) for decay in sorted(weight_decays)]
        self.epochs, self.max_steps = epochs, max_steps
        self.batch_size, self.seed = batch_size, seed

    def _train(self, data: Features, num_classes: int, grid: Sequence[tuple[float, float]]) -> Tensor:
        steps = min(self.max_steps, self.epochs * math.ceil(len(data) / self.batch_size))
        lrs, decays = zip(*grid, strict=True)
        return train_classifiers(data, num_classes, lrs, steps, self.batch_size, self.seed, decays)

    def choose(self, train: Features, num_classes: int) -> tuple[float, float]:
        """Return the learning rate and weight decay that are best on the held-out part of train features."""
        kept, held = holdout(train.labels, HELD_OUT, self.seed, "linear_holdout")
        if len(self.grid) == 1 or not len(held):
            return self.grid[0]
        part, rest = train.take(kept), train.take(held)
        hits = predict(self._train(part, num_classes, self.grid), rest.x) == rest.labels
        return self.grid[int(hits.float().mean(dim=1).argmax())]

    def __call__(self, train: Features, test: Features) -> dict[str, float]:
        """Return {"top1"}, a fraction."""
        mean, std = train.x.mean(dim=0), train.x.std(dim=0, correction=0)
        scale = 1 / std.clamp_min(1e-6)
        classes, labels = train.labels.unique(return_inverse=True)
        learnt = Features((train.x - mean) * scale, labels)
        best = self.choose(learnt, len(classes))
        guesses = predict(self._train(learnt, len(classes), [best]), (test.x - mean) * scale)[0]
        self.guesses = classes[guesses]
        return {"top1": (self.guesses == test.labels).float().mean().item()}
