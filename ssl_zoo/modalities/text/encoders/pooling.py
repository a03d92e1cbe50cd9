"""What the encoders of texts share: the mean over tokens that are no padding, and a check of the views."""

from __future__ import annotations

from torch import Tensor

from ssl_zoo.batch import InputSpec
from ssl_zoo.errors import UserError


def vocabulary_of(spec: InputSpec, name: str) -> int:
    """Return the number of token ids of the views.

    Raises:
        UserError: they are no token ids.
    """
    if spec.vocabulary is None or len(spec.views[0].shape) != 1:
        raise UserError(
            f"encoder {name!r}: takes token ids, and the views of the modality {spec.modality!r} are none; use "
            "views: spans."
        )
    return spec.vocabulary


def shares(x: Tensor) -> Tensor:
    """Return the weight of each place in the mean over tokens `(B, L, 1)`, float32, of token ids `(B, L)`.

    Padding has none, and the weights of a text sum to 1; those of a text of padding alone are all 0.
    """
    real = (x != 0).float()
    return (real / real.sum(dim=1, keepdim=True).clamp(min=1)).unsqueeze(2)


def mean_over_tokens(x: Tensor, h: Tensor) -> Tensor:
    """Return the mean of features `(B, L, D)` over the tokens of ids `(B, L)` that are no padding: `(B, D)`.

    A text of padding alone gives zeros.
    """
    return (h * shares(x)).sum(dim=1)
