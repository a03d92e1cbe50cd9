"""Protocol `semi_supervised`: the encoder fine-tuned with 1% and 10% of the labels (SimCLR, arXiv 2002.05709, 4.2)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.evaluation.contract import EvaluationProtocol, NotOffered
from ssl_zoo.evaluation.labels import Labels
from ssl_zoo.evaluation.protocols.fine_tune import FineTune, accuracy
from ssl_zoo.evaluation.protocols.linear import Rate
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.registry import register
from ssl_zoo.rng import generator

Share = Annotated[float, Field(gt=0, le=1)]


def draw(y: Tensor, fraction: float, seed: int, number: int) -> Tensor:
    """Return the sorted indices of one draw: the fraction of each class, rounded, and at least one sample of each.

    A function of the labels, the fraction, the seed and the draw's number, the same for every encoder.
    """
    y = y.cpu()
    order = torch.rand(len(y), generator=generator(seed, "semi_supervised", number)).argsort()
    picks = []
    for label in y.unique():
        members = order[y[order] == label]
        picks.append(members[: max(1, round(fraction * len(members)))])
    return torch.cat(picks).sort().values


def percent(fraction: float) -> str:
    """Return how metrics name a fraction: `1pct`, `0.5pct`."""
    return f"{100 * fraction:g}pct"


@register("protocol", "semi_supervised")
class SemiSupervised(EvaluationProtocol):
    """Top-1 of the encoder fine-tuned on a few percent of the labels, mean and spread over several draws of them.

    Each draw takes the fraction of every class (at least one sample) and trains a copy of the encoder with a linear
    classifier on it, as `fine_tune` does; of the untrained encoder this is supervised training with as many labels. It
    costs `draws` trainings for each fraction: no recipe has it by default.

    Args:
        fractions: of the labelled train samples.
        draws: the number of draws for each fraction.
        steps: number of optimizer steps of each training.
        lrs: as in `fine_tune`.
        batch_size: samples per step; all of the draw, if it has fewer.
        weight_decay: of AdamW.
        seed: of the draws and the trainings.
    """

    needs_labels = True
    quality = ("top1_*",)
    sees = Subject

    def __init__(
        self,
        *,
        fractions: Annotated[list[Share], Field(min_length=1)] = [0.01, 0.1],  # noqa: B006
        draws: Annotated[int, Field(ge=2)] = 3,
        steps: Annotated[int, Field(ge=1)] = 200,
        lrs: Annotated[list[Rate], Field(min_length=1)] = [1e-3],  # noqa: B006
        batch_size: Annotated[int, Field(ge=2)] = 128,
        weight_decay: Annotated[float, Field(ge=0)] = 0.05,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        self.fractions, self.draws, self.seed = sorted(set(fractions)), draws, seed
        self.tuning = FineTune(steps=steps, lrs=lrs, batch_size=batch_size, weight_decay=weight_decay, seed=seed)

    def notes(self, train: Tensor, labels: Labels) -> list[str]:
        """Return a note where a fraction of a class is no sample, given the labels `(N,)` of the train samples."""
        classes, counts = train.unique(return_counts=True)
        found = []
        for fraction in self.fractions:
            small = classes[(fraction * counts) < 0.5]
            if len(small):
                found.append(
                    f"semi_supervised: {100 * fraction:g}% of {len(small)} of {len(classes)} classes is no sample "
                    f"({labels.listed(small)}): one of each is taken"
                )
        return found

    def __call__(self, train: Subject, test: Subject) -> dict[str, float]:
        """Return {"top1_1pct", "std_1pct", ...}, fractions: mean and spread over the draws."""
        if train.policy.spec.members:
            raise NotOffered("it trains on samples of one modality, and these are mappings of several")
        classes, labels = train.labels.unique(return_inverse=True)
        metrics: dict[str, float] = {}
        for fraction in self.fractions:
            scores = []
            for number in range(self.draws):
                index = draw(train.labels, fraction, self.seed, number)
                part, own = train.take(index), labels[index]
                lr = self.tuning.choose_lr(part, own, classes)
                scores.append(accuracy(self.tuning.train(part, own, len(classes), lr), test, classes))
            top1 = torch.tensor(scores)
            metrics |= {f"top1_{percent(fraction)}": top1.mean().item(), f"std_{percent(fraction)}": top1.std().item()}
        return metrics
