"""Protocol `linear_augmented`: a linear classifier on features of augmented views, as papers train it.

SimSiam (Chen & He 2021, arXiv 2011.10566, appendix A) and most others: random crops and flips, LARS or SGD with
momentum, cosine decay, no weight decay, the encoder frozen and in eval mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import View, encode
from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.batches import labelled_batches
from ssl_zoo.evaluation.contract import EvaluationProtocol, NotOffered
from ssl_zoo.evaluation.features import mean_over, on_device
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.evaluation.protocols.linear import HELD_OUT, Rate
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.methods.build import build_policy
from ssl_zoo.optim.schedules import half_cosine
from ssl_zoo.recipe.part import Optimizer, Part, PerMember, Views, default

Heads = Sequence[tuple[Tensor, Tensor]]
"""Weights `(D, K)` and bias `(K,)` of each classifier."""


class Scale(nn.Module):
    """Features less the mean of the plain train features, divided by their standard deviation.

    Args:
        x: plain train features `(N, D)`.
    """

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.mean, self.factor = x.mean(dim=0), 1 / x.std(dim=0, correction=0).clamp_min(1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, D)`."""
        return (x - self.mean) * self.factor


def scores_of(heads: Heads, x: Tensor) -> Tensor:
    """Return the scores `(L, N, K)` that classifiers give features `(N, D)`."""
    return torch.stack([torch.addmm(bias, x, weight) for weight, bias in heads])


@registry.register("protocol", "linear_augmented")
class LinearAugmented(EvaluationProtocol):
    """Top-1 of a linear classifier that is trained on features of augmented views, the way papers report it.

    Each pass encodes a new view of every train sample, so that it costs about `epochs` times as much as `linear`. All
    learning rates are trained at once; where there are several, the best on a held-out part of train is chosen (the
    smallest of equals) and a classifier with it is trained on all of train. Weights start at 0 and decay is a cosine to
    0. Unlike in most papers, features are standardised as in `linear`, so that one learning rate does for encoders of
    any width and scale. Test samples are seen without augmentation.

    Args:
        views: the view policy of the classifier's training, such as crops and flips alone; None takes the first of the
            recipe's views.
        optimizer: `sgd` or `lars`, with its momentum and weight decay.
        lrs: the learning rates, at a batch of 256; they are scaled to the batch linearly.
        epochs: passes over the train samples.
        batch_size: samples per step.
        seed: of the held-out part, the order of samples and their views.
    """

    needs_labels = True
    sees = Subject

    def __init__(
        self,
        *,
        views: Views | None = None,
        optimizer: Optimizer = default("optimizer", "sgd"),
        lrs: Annotated[list[Rate], Field(min_length=1)] = [0.1],  # noqa: B006
        epochs: Annotated[int, Field(ge=1)] = 10,
        batch_size: Annotated[int, Field(ge=2)] = 256,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        self.views, self.optimizer, self.lrs, self.epochs = views, optimizer, sorted(lrs), epochs
        self.batch_size, self.seed = batch_size, seed

    def policy(self, train: Subject) -> ViewPolicy:
        """Return the view policy of the classifier's training.

        Raises:
            UserError: it is of another modality than the samples.
        """
        if self.views is None:
            return train.policy
        if isinstance(self.views, PerMember):
            raise UserError("protocol 'linear_augmented': views: names one policy, not one per member.")
        policy = build_policy(self.views)
        if policy.modality != train.policy.modality:
            raise UserError(
                f"protocol 'linear_augmented': views: {self.views.name!r} makes views of {policy.modality}, and the "
                f"samples are of {train.policy.modality}."
            )
        return policy

    def train(self, train: Subject, labels: Tensor, num_classes: int, scale: Scale, lrs: Sequence[float]) -> Heads:
        """Return a classifier for each learning rate, trained on samples with labels `(N,)` from 0 to K - 1."""
        device, size = torch.device(train.device), min(self.batch_size, len(train))
        steps = self.epochs * math.ceil(len(train) / size)
        dim = len(scale.mean)
        heads = [(torch.zeros(dim, num_classes, device=device), torch.zeros(num_classes, device=device)) for _ in lrs]
        groups = [
            {"params": [each], "names": [name], "lr_scale": 1.0, "constant": False, "full": lr * size / 256, **more}
            for head, lr in zip(heads, lrs, strict=True)
            for each, name, more in zip(
                head, ("weight", "bias"), ({}, {"weight_decay": 0.0, "adapt": False}), strict=True
            )
        ]
        optimizer = _built(self.optimizer, groups)
        batches = labelled_batches(
            train, labels, steps=steps, batch_size=size, seed=self.seed, stream="linear_augmented",
            policy=self.policy(train),
        )  # fmt: skip
        with on_device(train.encoder, device, train.half) as call, torch.no_grad():
            for step, (view, y) in enumerate(batches):
                x = scale(call(encode, train.encoder, view).float())
                for group in optimizer.param_groups:
                    group["lr"] = group["full"] * half_cosine(step / steps)
                error = (scores_of(heads, x).softmax(dim=2) - F.one_hot(y, num_classes)) / len(y)  # (L, B, K)
                for (weight, bias), each in zip(heads, error, strict=True):
                    weight.grad, bias.grad = x.T @ each, each.sum(dim=0)
                optimizer.step()
        return heads

    def __call__(self, train: Subject, test: Subject) -> dict[str, float]:
        """Return {"top1"}, a fraction."""
        if train.policy.spec.members:
            raise NotOffered("it trains on samples of one modality, and these are mappings of several")
        classes, labels = train.labels.unique(return_inverse=True)
        lr = self.choose_lr(train, labels, len(classes))
        scale = Scale(plain(train)[0])
        head = self.train(train, labels, len(classes), scale, [lr])
        x, y = plain(test)
        return {"top1": (classes[scores_of(head, scale(x))[0].argmax(dim=1).cpu()] == y).float().mean().item()}

    def choose_lr(self, train: Subject, labels: Tensor, num_classes: int) -> float:
        """Return the learning rate that is best on the held-out part of train, the smallest of equals."""
        kept, held = holdout(labels, HELD_OUT, self.seed, "linear_augmented_holdout")
        if len(self.lrs) == 1 or not len(held):
            return self.lrs[0]
        part, rest = train.take(kept), train.take(held)
        scale = Scale(plain(part)[0])
        x, y = plain(rest)
        heads = self.train(part, labels[kept], num_classes, scale, self.lrs)
        classes = train.labels.unique()
        hits = classes[scores_of(heads, scale(x)).argmax(dim=2).cpu()] == y
        return self.lrs[int(hits.float().mean(dim=1).argmax())]


def plain(subject: Subject) -> tuple[Tensor, Tensor]:
    """Return the features `(M, D)`, on the device, and the labels of the samples that can be read, not augmented."""

    def embed(views: list[View]) -> dict[str, Tensor]:
        return {"h": mean_over(views, lambda view: encode(subject.encoder, view))}

    found, y = subject.collect(embed)
    assert y is not None  # it got labelled samples
    return found["h"].to(subject.device), y


def _built(part: Part, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = registry.build("optimizer", part.name, part.options, groups=groups)
    return optimizer
