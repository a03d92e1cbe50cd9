"""Protocol `view_retrieval`: finding the other view of a sample among those of many samples, without labels."""

from typing import Annotated

from pydantic import Field

from ssl_zoo.evaluation.augmented import AugmentedViews
from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.protocols.retrieval import recalls
from ssl_zoo.registry import register

_METRICS = ("r1", "r5", "median_rank")


@register("protocol", "view_retrieval")
class ViewRetrieval(EvaluationProtocol):
    """The other view of a sample is looked for among those of all samples, by the cosine of features h.

    Two views of each test sample are made by the recipe's own view policy, as in training but with draws that no seed
    changes: the trained encoder, the untrained one and the raw input are asked the same question. `r1` is the share of
    samples whose other view is the nearest among `num`, `r5` that among the 5 nearest, and `median_rank` its median
    rank; each is the mean of both directions. Items equally near share their ranks, so that a constant encoder reaches
    chance.

    An encoder that does worse than its untrained self has lost what tells samples apart under these views. Doing better
    is what most losses ask for, and it is no proof that classes are apart. The numbers depend on the views, on the data
    and on `num`: compare encoders on the same ones.

    Args:
        samples: the most samples, drawn at random with a fixed seed.
    """

    needs_labels = False
    needs_train = False
    quality = ("r1",)
    bars = ("untrained",)  # raw input is better at it than many a good encoder: docs/decisions/0009
    stand_in = True
    sees = AugmentedViews

    def __init__(self, *, samples: Annotated[int, Field(ge=2)] = 1000):
        self.samples = samples

    def __call__(self, train: AugmentedViews, test: AugmentedViews) -> dict[str, float]:
        """Return {"r1", "r5", "median_rank"}, what chance gives of each, and {"num"}."""
        x = test.features(self.samples, views=2)
        there, back = recalls(x[:, 0], x[:, 1]), recalls(x[:, 1], x[:, 0])
        num = len(x)
        chance = {"r1": 1 / num, "r5": min(1.0, 5 / num), "median_rank": (num + 1) / 2}
        metrics: dict[str, float] = {}
        for name in _METRICS:
            metrics |= {name: (there[name] + back[name]) / 2, f"{name}_chance": chance[name]}
        return {**metrics, "num": num}
