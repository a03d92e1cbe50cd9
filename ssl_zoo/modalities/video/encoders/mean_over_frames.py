"""The encoder `mean_over_frames`: an encoder of images on each frame, averaged: what appearance alone can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, View, encode, tokens_of
from ssl_zoo.errors import UserError
from ssl_zoo.registry import register

FRAMES = "image"
"""The modality of single frames."""


@register("encoder", "mean_over_frames")
class MeanOverFrames(nn.Module):
    """An encoder of images on every frame of a clip, its features averaged over time. It does not see the order.

    Args:
        spec: of the views.
        encoder: the encoder of images: its name, or a mapping of its `name` and options, as in a recipe.

    Raises:
        UserError: there is no such encoder, or no such option.

    Shapes: `(B, C, T, H, W)` -> `(B, out_dim of the encoder)`.
    """

    def __init__(self, spec: InputSpec, *, encoder: str | dict[str, Any] = "convnet") -> None:
        super().__init__()
        options: dict[str, Any] = {"name": encoder} if isinstance(encoder, str) else dict(encoder)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise UserError("encoder.encoder: give the name of an encoder of images, or a mapping with its name.")
        views = tuple(replace(view, shape=(view.shape[0], *view.shape[2:])) for view in spec.views)
        self.frame = registry.build("encoder", name, options, spec=replace(spec, modality=FRAMES, views=views))
        self.out_dim = self.frame.out_dim

    def _frames(self, view: View) -> View:
        """Return each frame of each clip as a sample, `(B T, C, H, W)`."""
        return replace(view, data=view.tensor.transpose(1, 2).flatten(0, 1), modality=FRAMES, aux={})

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        """Return the features of places `(B, N, out_dim)` and their grid (T, H', W'), if the encoder of images has any.

        Raises:
            TypeError: it has none.
        """
        tokens, grid = tokens_of(self.frame, self._frames(view))
        num, length = view.tensor.shape[0], view.tensor.shape[2]
        return tokens.reshape(num, -1, tokens.shape[2]), (length, *grid)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of clips `(B, C, T, H, W)`."""
        h = encode(self.frame, self._frames(View(x)))
        return h.unflatten(0, (x.shape[0], x.shape[2])).mean(dim=1)
