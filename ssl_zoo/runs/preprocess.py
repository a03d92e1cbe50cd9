"""The plain view of a sample as a transform of torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms import v2

from ssl_zoo.data.source import ViewPolicy
from ssl_zoo.runs.inputs import Inputs


class Preprocess(v2.Transform):
    """What an evaluation sees of a sample: a picture, a tensor, an array, a path or bytes -> float32 `(C, H, W)`.

    As other transforms, it leaves what else is in a tuple or a mapping as it is, such as labels. A path or bytes are
    taken only alone.

    Args:
        inputs: of the encoder.
    """

    _transformed_types = (torch.Tensor, PIL.Image.Image, np.ndarray)

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self._inputs = inputs

    def forward(self, *inputs: Any) -> Any:
        """Return the plain view of a sample, or what was given with the sample in it replaced."""
        alone = len(inputs) == 1 and not isinstance(inputs[0], (tuple, list, dict))
        return self.transform(inputs[0], {}) if alone else super().forward(*inputs)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Tensor:
        """Return the plain view of a sample.

        Raises:
            UserError: it cannot be read.
        """
        policy: ViewPolicy = self._inputs.policy
        return policy.plain([self._inputs.sample(inpt)]).tensor[0]

    def extra_repr(self) -> str:
        """Return what is done."""
        return ", ".join(f"{name}={value}" for name, value in self._inputs.policy.steps().items())
