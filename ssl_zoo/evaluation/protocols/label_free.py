"""Protocol `label_free`: spread and effective rank of the test features."""

from typing import Annotated

import torch
from pydantic import Field

from ssl_zoo.collapse.metrics import effective_rank, normalised_std
from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.features import Features
from ssl_zoo.registry import register
from ssl_zoo.rng import generator


@register("protocol", "label_free")
class LabelFree(EvaluationProtocol):
    """Spread and effective rank of the test features, as they come from the encoder (no labels needed).

    `std` is `normalised_std` (1 = isotropic, 0 = constant); `effective_rank` counts directions and is not a fraction.
    Both depend on the number of samples and on the layer: compare runs of one method at one setting.

    Args:
        samples: the most features that are used, drawn at random with a fixed seed.
    """

    needs_labels = False

    def __init__(self, *, samples: Annotated[int, Field(ge=2)] = 10_000):
        self.samples = samples

    def __call__(self, train: Features, test: Features) -> dict[str, float]:
        """Return {"std", "effective_rank"} of `test.x`."""
        chosen = torch.randperm(len(test.x), generator=generator(0, "label_free"))[: self.samples].sort().values
        x = test.x[chosen.to(test.x.device)]
        return {"std": normalised_std(x), "effective_rank": effective_rank(x)}
