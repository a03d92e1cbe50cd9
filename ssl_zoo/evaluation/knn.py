"""Protocol `knn`: weighted nearest neighbours on frozen features (Wu et al. 2018, arXiv 1805.01978, section 3.4)."""

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.evaluation.features import Features
from ssl_zoo.registry import register

_BLOCK = 1024  # queries at a time, so that memory stays at 1024 x (bank size) numbers


def classify(queries: Tensor, bank: Tensor, labels: Tensor, k: int, temperature: float, num_classes: int) -> Tensor:
    """Return the class that the k nearest neighbours vote for, each with the weight exp(cosine / temperature).

    Args:
        queries: `(N, D)` vectors of unit length.
        bank: `(M, D)` vectors of unit length, M >= k.
        labels: `(M,)` class indices of the bank.
        k: how many neighbours vote.
        temperature: of the weights; towards 0 the nearest neighbour alone decides.
        num_classes: number of classes.

    Returns:
        `(N,)` class indices.
    """
    guesses = labels.new_empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        similarity, index = (queries[start : start + _BLOCK] @ bank.T).topk(k, dim=1)
        # Weights relative to the nearest neighbour's: the same winner, and no overflow at a low temperature.
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = weight.new_zeros(len(weight), num_classes).scatter_add_(1, labels[index], weight)
        guesses[start : start + len(votes)] = votes.argmax(dim=1)
    return guesses


@register("protocol", "knn")
class KNN:
    """Top-1 of a weighted kNN classifier: the k train features nearest by cosine vote with exp(cosine / temperature).

    Nothing is trained or chosen, so it is the protocol to watch during a run. All train features are the bank; one
    that is smaller than k votes as a whole.

    Args:
        k: number of neighbours (200 in the paper and in SimSiam).
        temperature: of the votes; 0.1 as in most code since (0.07 in the paper).
    """

    needs_labels = True

    def __init__(self, *, k: Annotated[int, Field(ge=1)] = 200, temperature: Annotated[float, Field(gt=0)] = 0.1):
        self.k, self.temperature = k, temperature

    def __call__(self, train: Features, test: Features) -> dict[str, float]:
        """Return {"top1"}, a fraction."""
        bank, queries = F.normalize(train.x, dim=1), F.normalize(test.x, dim=1)
        num_classes = int(train.labels.max()) + 1
        guesses = classify(queries, bank, train.labels, min(self.k, len(bank)), self.temperature, num_classes)
        return {"top1": (guesses == test.labels).float().mean().item()}
