"""Protocol `knn`: weighted nearest neighbours on frozen features (Wu et al. 2018, arXiv 1805.01978, section 3.4)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.holdout import holdout
from ssl_zoo.registry import register

_BLOCK = 1024
"""Queries at a time, so that the similarities take 1024 x (bank size) numbers."""

_MAX_QUERIES = 10_000
"""The most held-out samples for the choice of k: enough to separate the candidates, and a bound on time."""

Count = Annotated[int, Field(ge=1)]


def classify_each(
    queries: Tensor, bank: Tensor, labels: Tensor, ks: Sequence[int], temperature: float, num_classes: int
) -> Tensor:
    """Return the classes that the k nearest neighbours vote for, for several k at the cost of the largest.

    Args:
        queries: `(N, D)` vectors of unit length.
        bank: `(M, D)` vectors of unit length.
        labels: `(M,)` class indices of the bank.
        ks: numbers of neighbours, ascending, none above M.
        temperature: of the weights exp(cosine / temperature); towards 0 the nearest neighbour alone decides.
        num_classes: number of classes.

    Returns:
        `(len(ks), N)` class indices.
    """
    guesses = labels.new_empty(len(ks), len(queries))
    for start in range(0, len(queries), _BLOCK):
        similarity, index = (queries[start : start + _BLOCK] @ bank.T).topk(ks[-1], dim=1)
        # Weights relative to the nearest neighbour's: the same winner, and no overflow at a low temperature.
        weight, voters = ((similarity - similarity[:, :1]) / temperature).exp(), labels[index]
        votes, counted = weight.new_zeros(len(weight), num_classes), 0
        for row, k in zip(guesses, ks, strict=True):
            votes.scatter_add_(1, voters[:, counted:k], weight[:, counted:k])
            row[start : start + len(votes)] = votes.argmax(dim=1)
            counted = k
    return guesses


def classify(queries: Tensor, bank: Tensor, labels: Tensor, k: int, temperature: float, num_classes: int) -> Tensor:
    """Return the class indices `(N,)` that the k nearest neighbours vote for; see `classify_each`."""
    return classify_each(queries, bank, labels, [k], temperature, num_classes)[0]


@register("protocol", "knn")
class KNN(EvaluationProtocol):
    """Top-1 of a weighted kNN classifier: the k train features nearest by cosine vote with exp(cosine / temperature).

    The best k differs between representations (raw digits: 5 rather than 200), so by default each gets its own: the
    best on a held-out part of the train features, with the others as the bank (the smallest of equals). Test features
    are then classified once, with all train features as the bank. Test labels take no part in any choice.

    Args:
        k: number of neighbours, or `auto` to choose it (the paper and SimSiam: 200). A smaller bank votes as a whole.
        temperature: of the votes; 0.1 as in most later code (0.07 in the paper).
        candidates: values of k for `auto`; those larger than its bank are skipped.
        held_out: the fraction of the train samples of each class for the choice of k; at most 10,000 samples in all.
        seed: of the held-out part.
    """

    needs_labels = True

    def __init__(
        self,
        *,
        k: Count | Literal["auto"] = "auto",
        temperature: Annotated[float, Field(gt=0)] = 0.1,
        candidates: Annotated[list[Count], Field(min_length=1)] = [1, 5, 10, 20, 50, 100, 200],  # noqa: B006
        held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        seed: Annotated[int, Field(ge=0)] = 0,
    ):
        self.k, self.temperature, self.candidates = k, temperature, sorted(set(candidates))
        self.held_out, self.seed = held_out, seed

    def choose_k(self, bank: Tensor, labels: Tensor, num_classes: int) -> int:
        """Return the k that is best on the held-out part of the train features, `bank` `(M, D)` of unit length."""
        kept, held = holdout(labels, min(self.held_out, _MAX_QUERIES / len(labels)), self.seed, "knn_holdout")
        kept, held = kept.to(bank.device), held.to(bank.device)
        ks = [k for k in self.candidates if k <= len(kept)] or [len(kept)]
        if len(ks) == 1 or not len(held):
            return ks[0]
        guesses = classify_each(bank[held], bank[kept], labels[kept], ks, self.temperature, num_classes)
        return ks[int((guesses == labels[held]).sum(dim=1).argmax())]

    def __call__(self, train: Features, test: Features) -> dict[str, float]:
        """Return {"top1", "k"}: a fraction, and the number of neighbours that voted."""
        bank, queries = F.normalize(train.x, dim=1), F.normalize(test.x, dim=1)
        classes, labels = train.labels.unique(return_inverse=True)
        k = self.choose_k(bank, labels, len(classes)) if self.k == "auto" else min(self.k, len(bank))
        self.guesses = guesses = classes[classify(queries, bank, labels, k, self.temperature, len(classes))]
        return {"top1": (guesses == test.labels).float().mean().item(), "k": k}
