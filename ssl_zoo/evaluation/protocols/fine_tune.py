"""Protocol `fine_tune`: the whole encoder trained with labels; of the untrained encoder, its supervised twin."""

import copy
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.evaluation.batches import labelled_batches
from ssl_zoo.evaluation.contract import EvaluationProtocol, NotOffered
from ssl_zoo.evaluation.features import mean_over
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.evaluation.protocols.linear import HELD_OUT, Rate
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.evaluation.supervised import Classifier, supervised_steps
from ssl_zoo.optim.schedules import half_cosine
from ssl_zoo.registry import register
from ssl_zoo.rng import derive


@register("protocol", "fine_tune")
class FineTune(EvaluationProtocol):
    """Top-1 of the encoder and a linear classifier, both trained with labels on the first of the recipe's views.

    Of the untrained encoder this is supervised training from scratch, the bar that self-supervised training with few
    labels has to beat; of the trained one it is fine-tuning. It trains copies and costs about as much as a run of as
    many steps, for each of the two: no recipe has it by default. AdamW, cosine decay to 0; as in `linear`, test labels
    have no part in any choice. A test sample is seen without augmentation.

    Args:
        steps: number of optimizer steps; those of the run make it a fair twin.
        lrs: the learning rates to choose from on a held-out part of train; each costs a training of its own, and one
            alone is taken as it is.
        batch_size: samples per step.
        weight_decay: of AdamW.
        seed: of the classifier's weights, the held-out part, the order of samples and their views.
    """

    needs_labels = True
    sees = Subject

    def __init__(
        self,
        *,
        steps: Annotated[int, Field(ge=1)] = 500,
        lrs: Annotated[list[Rate], Field(min_length=1)] = [1e-3],  # noqa: B006
        batch_size: Annotated[int, Field(ge=2)] = 128,
        weight_decay: Annotated[float, Field(ge=0)] = 0.05,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        self.steps, self.lrs, self.batch_size = steps, sorted(lrs), batch_size
        self.weight_decay, self.seed = weight_decay, seed

    def train(self, train: Subject, labels: Tensor, num_classes: int, lr: float) -> Classifier:
        """Return a copy of the encoder with a classifier, trained on samples with labels `(N,)` from 0 to K - 1."""
        device = torch.device(train.device)
        devices = [device] if device.type == "cuda" else []
        with torch.enable_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive(self.seed, "fine_tune", 0))
            model = Classifier(copy.deepcopy(train.encoder), num_classes).to(device).train()
            model.requires_grad_()
            group = {"params": list(model.parameters()), "full": lr}
            optimizer = torch.optim.AdamW([group], lr=lr, weight_decay=self.weight_decay)
            batches = labelled_batches(
                train, labels, steps=self.steps, batch_size=self.batch_size, seed=self.seed, stream="fine_tune"
            )
            for _ in supervised_steps(
                model, batches, optimizer, lambda step: half_cosine(step / self.steps), half=train.half
            ):
                pass
        return model

    def choose_lr(self, train: Subject, labels: Tensor, classes: Tensor) -> float:
        """Return the learning rate that is best on the held-out part of train, the smallest of equals."""
        kept, held = holdout(labels, HELD_OUT, self.seed, "fine_tune_holdout")
        if len(self.lrs) == 1 or not len(held):
            return self.lrs[0]
        part, rest = train.take(kept), train.take(held)
        shares = [accuracy(self.train(part, labels[kept], len(classes), lr), rest, classes) for lr in self.lrs]
        return self.lrs[shares.index(max(shares))]

    def __call__(self, train: Subject, test: Subject) -> dict[str, float]:
        """Return {"top1"}, a fraction."""
        if train.policy.spec.members:
            raise NotOffered("it trains on samples of one modality, and these are mappings of several")
        classes, labels = train.labels.unique(return_inverse=True)
        lr = self.choose_lr(train, labels, classes)
        return {"top1": accuracy(self.train(train, labels, len(classes), lr), test, classes)}


def accuracy(model: Classifier, subject: Subject, classes: Tensor) -> float:
    """Return the share of samples, of those that can be read, whose class is the one with the highest score.

    Args:
        model: the classifier.
        subject: the samples.
        classes: `(K,)`, the label of each score.
    """

    def scores(views: list[View]) -> dict[str, Tensor]:
        return {"scores": mean_over(views, model.encode)}

    found, y = replace(subject, encoder=model).collect(scores)
    assert y is not None  # it got labelled samples
    return (classes[found["scores"].argmax(dim=1)] == y).float().mean().item()
