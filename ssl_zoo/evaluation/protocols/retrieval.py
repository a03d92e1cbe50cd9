"""Protocol `retrieval`: finding the other member of a sample among those of all samples, both ways."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.evaluation.aligned import Aligned
from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.registry import register

RANKS = (1, 5, 10)
"""The k of recall at k."""

_BLOCK = 2**24
"""The most cosines at a time: 128 MiB."""

TIE = 1e-12
"""Cosines that differ by less are equal: rounding decides nothing. They are computed in double precision: those of an
untrained encoder may be too close to one another for single precision."""


def similarities(queries: Tensor, bank: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (first query, cosines `(b, M)` of some queries with the bank), in double precision.

    Args:
        queries: `(N, D)`.
        bank: `(M, D)`.
    """
    queries, bank = F.normalize(queries.double(), dim=1), F.normalize(bank.double(), dim=1)
    rows = max(1, _BLOCK // len(bank))
    for start in range(0, len(queries), rows):
        yield start, queries[start : start + rows] @ bank.T


def nearest_is(cosines: Tensor, right: Tensor) -> Tensor:
    """Return the chance `(b,)` that the nearest of a bank is a right one, where equals are drawn among.

    Args:
        cosines: `(b, M)`.
        right: `(b, M)`, whether an item of the bank is right.
    """
    first = cosines >= cosines.max(dim=1, keepdim=True).values - TIE
    return (first & right).sum(dim=1) / first.sum(dim=1)


def recalls(queries: Tensor, bank: Tensor) -> dict[str, float]:
    """Return the recall at each of `RANKS`, and the median rank of the right item: of query i, item i.

    Items as near as the right one share their ranks: the recall is its expectation over their orders, the rank their
    mean one. So constant embeddings reach what chance reaches, k / N and (N + 1) / 2.

    Args:
        queries: `(N, D)`.
        bank: `(N, D)`.
    """
    nearer, equal = [], []
    for start, cosines in similarities(queries, bank):
        own = cosines.diagonal(start)[:, None]
        nearer.append((cosines > own + TIE).sum(dim=1))
        equal.append(((cosines - own).abs() <= TIE).sum(dim=1))
    before, ties = torch.cat(nearer), torch.cat(equal)  # the right one is among its equals
    found = {f"r{k}": ((k - before) / ties).clamp(0, 1).mean().item() for k in RANKS}
    return {**found, "median_rank": (before + (ties + 1) / 2).quantile(0.5).item()}


def same_class(queries: Tensor, bank: Tensor, y: Tensor) -> float:
    """Return the share of queries `(N, D)` whose nearest item of the bank has their class `y` `(N,)`."""
    found = [
        nearest_is(cosines, y[start : start + len(cosines), None] == y)
        for start, cosines in similarities(queries, bank)
    ]
    return torch.cat(found).mean().item()


@register("protocol", "retrieval")
class Retrieval(EvaluationProtocol):
    """For each member of a sample, the other member is looked for among those of all test samples, by cosine.

    A query is what the encoder predicts of the other member from this one. `A_to_B_r5` is the share of samples whose B
    is among the 5 nearest to their A; `A_to_B_median_rank` is its median rank. Where samples have labels,
    `A_to_B_same_class_1` is the share whose nearest B is of a sample of the same class: what can be asked where any
    spoken digit of a class fits a written one. What chance would give is beside each. All depend on the number of
    samples: compare runs on the same data and `evaluation.limit`.
    """

    needs_labels = False
    needs_train = False
    quality = ("*_to_*_r1",)
    sees = Aligned

    def __call__(self, train: Aligned, test: Aligned) -> dict[str, float]:
        """Return the metrics of each direction, see the class."""
        num = len(test)
        chance = {f"r{k}": min(1.0, k / num) for k in RANKS} | {"median_rank": (num + 1) / 2}
        y = torch.full((num,), -1) if test.y is None else test.y
        known = (y >= 0).nonzero().flatten()
        if len(known):
            _, counts = y[known].unique(return_counts=True)
            chance["same_class_1"] = (counts / len(known)).square().sum().item()
        metrics: dict[str, float] = {}
        for (one, other), queries in test.p.items():
            bank = test.z[other]
            found = recalls(queries, bank)
            if "same_class_1" in chance:
                found["same_class_1"] = same_class(queries[known], bank[known], y[known])
            for name, value in found.items():
                metrics |= {f"{one}_to_{other}_{name}": value, f"{one}_to_{other}_{name}_chance": chance[name]}
        return metrics
