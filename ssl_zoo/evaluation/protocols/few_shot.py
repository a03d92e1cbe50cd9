"""Protocol `few_shot`: accuracy with a few labels per class, as mean and spread over many draws of them."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.labels import Labels
from ssl_zoo.evaluation.protocols.knn import Count, classify
from ssl_zoo.registry import register
from ssl_zoo.rng import generator

_TEMPERATURE = 0.1
"""Of the votes, as the default of `knn`."""


def draw(y: Tensor, labels: int, seed: int, number: int) -> Tensor:
    """Return the sorted indices of one draw: `labels` samples of each class, without replacement.

    A function of the labels, the seed and the draw's number alone, so that every representation of a data set is
    measured on the same draws. All samples of a class with fewer are taken.
    """
    y = y.cpu()
    order = torch.rand(len(y), generator=generator(seed, "few_shot", number)).argsort()
    picks = [order[y[order] == label][:labels] for label in y.unique()]
    return torch.cat(picks).sort().values


@register("protocol", "few_shot")
class FewShot(EvaluationProtocol):
    """Top-1 with a few labels per class: the nearest labelled train features by cosine decide, mean over many draws.

    Each draw labels `labels` train samples of every class (or all of a class that has fewer) and classifies all test
    features. `std` is the sample standard deviation over the draws. No option is chosen on held-out samples, since so
    few labels leave none. One neighbour does not favour trained encoders: raw digits are best with it, and more
    neighbours help trained features more than raw ones (CIFAR-10).

    Args:
        labels: labelled samples per class; of several counts, `top1` and `std` are of the largest, and the others are
            called `top1_1`, `std_1` and so on.
        draws: the number of draws.
        neighbours: the number of labelled neighbours that vote; several vote with exp(cosine / 0.1), as in `knn`.
        seed: of the draws.
    """

    needs_labels = True

    def __init__(
        self,
        *,
        labels: Count | Annotated[list[Count], Field(min_length=1)] = 10,
        draws: Annotated[int, Field(ge=2)] = 50,
        neighbours: Annotated[int, Field(ge=1)] = 1,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        self.labels = sorted(set(labels)) if isinstance(labels, list) else [labels]
        self.draws, self.neighbours, self.seed = draws, neighbours, seed

    def notes(self, train: Tensor, labels: Labels) -> list[str]:
        """Return notes for the user before it runs, given the labels `(N,)` of the train features."""
        classes, counts = train.unique(return_counts=True)
        rare = classes[counts < self.labels[-1]]
        if not len(rare):
            return []
        fewest = int(counts.min())
        return [
            f"few_shot: {len(rare)} of {len(classes)} classes have fewer than {self.labels[-1]} labelled samples "
            f"({labels.listed(rare)}; the fewest {fewest}): all of them are used"
        ]

    def __call__(self, train: Features, test: Features) -> dict[str, float]:
        """Return {"top1", "std"}, fractions: mean and spread over the draws; and those of fewer labels."""
        metrics: dict[str, float] = {}
        most = self.labels[-1]
        for num in (most, *self.labels[:-1]):
            top1, key = self.scores(train, test, num), "" if num == most else f"_{num}"
            metrics |= {f"top1{key}": top1.mean().item(), f"std{key}": top1.std().item()}
        return metrics

    def scores(self, train: Features, test: Features, num: int) -> Tensor:
        """Return the top-1 `(draws,)` of each draw of `num` labels per class."""
        bank, queries = F.normalize(train.x, dim=1), F.normalize(test.x, dim=1)
        classes, labels = train.labels.unique(return_inverse=True)
        scores = []
        for number in range(self.draws):
            index = draw(train.labels, num, self.seed, number).to(bank.device)
            k = min(self.neighbours, len(index))
            guesses = classes[classify(queries, bank[index], labels[index], k, _TEMPERATURE, len(classes))]
            scores.append((guesses == test.labels).float().mean())
        return torch.stack(scores)
