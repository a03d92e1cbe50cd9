"""Protocol `label_retrieval`: mean average precision of finding the samples of the same class."""

from typing import Literal

import torch
from torch import Tensor

from ssl_zoo.evaluation.contract import EvaluationProtocol, NotOffered
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.protocols.retrieval import TIE, similarities
from ssl_zoo.registry import register


def average_precision(scores: Tensor, right: Tensor) -> Tensor:
    """Return the average precision `(b,)` of each query; nan where nothing is right.

    The sum over ranks of precision times the gain in recall (Manning, Raghavan & Schuetze 2008, section 8.4), items of
    equal score counted together, as scikit-learn does: their order decides nothing.

    Args:
        scores: `(b, M)`, double precision.
        right: `(b, M)`, whether an item is right.
    """
    scores, order = scores.sort(dim=1, descending=True)
    hits = right.gather(1, order)
    positions = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
    last = torch.ones_like(hits)  # whether an item is the last of its equals
    last[:, :-1] = scores[:, :-1] - scores[:, 1:] > TIE
    end = torch.where(last, positions, scores.shape[1] - 1).flip(1).cummin(dim=1).values.flip(1)
    precision = hits.cumsum(dim=1).gather(1, end).double() / (end + 1)
    return (precision * hits).sum(dim=1) / hits.sum(dim=1)


def expected_by_chance(right: Tensor, num: int) -> Tensor:
    """Return the expected average precision of a random order without ties.

    Args:
        right: `(b,)`, how many of the items are right, at least 1.
        num: how many items there are.
    """
    harmonic = (1 / torch.arange(1, num + 1, dtype=torch.float64)).sum()
    return (harmonic + (right - 1) / max(1, num - 1) * (num - harmonic)) / num


@register("protocol", "label_retrieval")
class LabelRetrieval(EvaluationProtocol):
    """Mean average precision (mAP) of ranking samples by cosine, where those of the query's class are right.

    Every labelled test sample is a query once. It is a share, but no accuracy: it asks that all samples of a class are
    near, not only the nearest. Queries whose class nobody else has are left out. It depends on how many samples there
    are and on the sizes of the classes; what a random order would give is beside it.

    Args:
        bank: what is ranked: the other `test` samples, or the `train` samples.
    """

    needs_labels = True
    quality = ("map",)

    def __init__(self, *, bank: Literal["test", "train"] = "test"):
        self.bank = bank

    def __call__(self, train: Features, test: Features) -> dict[str, float]:
        """Return {"map", "map_chance"}, fractions.

        Raises:
            NotOffered: no query has anything to find.
        """
        bank, itself = (train, False) if self.bank == "train" else (test, True)
        y = bank.labels
        found, chance = [], []
        for start, cosines in similarities(test.x, bank.x):
            right = y == test.labels[start : start + len(cosines), None]
            if itself:
                rows = torch.arange(len(cosines), device=right.device)
                others = torch.ones_like(right).index_put(
                    (rows, rows + start), torch.tensor(False, device=right.device)
                )
                right, cosines = (x[others].view(len(x), -1) for x in (right, cosines))
            asked = right.any(dim=1)
            right, cosines = right[asked], cosines[asked]
            found.append(average_precision(cosines, right))
            chance.append(expected_by_chance(right.sum(dim=1).cpu(), right.shape[1]))
        if not sum(map(len, found)):
            raise NotOffered(f"no sample of {self.bank} is of the class of another test sample")
        return {"map": torch.cat(found).mean().item(), "map_chance": torch.cat(chance).mean().item()}
