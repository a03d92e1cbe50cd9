"""The view policy `transforms`: views by a transform of the user's, such as a `torchvision.transforms.v2.Compose`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.data.source import Samples
from ssl_zoo.errors import UserError, describe_error
from ssl_zoo.modalities.image.views.generators import kept_generators, seed_generators
from ssl_zoo.modalities.image.views.policy import Count, ImageViewPolicy, Positive
from ssl_zoo.registry import register

Transform = Callable[[Tensor], Any]
Reference = Annotated[str, Field(pattern=r"^\w+(\.\w+)*:\w+$")]


@register("views", "transforms")
class Transforms(ImageViewPolicy):
    """Views by a transform of yours: a callable in a module that Python can import.

    It is called once per view and sample, on the image `(C, H, W)` as it was decoded (uint8, but for images of other
    channels or types), and returns the view: floats `(C, size, size)`, normalised. The generators of torch, Python and
    NumPy are seeded before each call, so that a run is reproducible, and resumes exactly, with any number of workers.

    Args:
        transform: `module:name` of the callable; a list has one per view. The module must be on the Python path, or in
            the current folder with `--import module`.
        num_views: views per sample.
        channels: of the images: 1 (grey) or 3 (RGB) of photographs, any other number as files have it.
        size: height and width of a view in pixels; evaluation sees images of this size.
        mean: subtracted from each channel of the images that evaluation sees (one number is for all channels).
        std: divided by, there.

    Raises:
        UserError: there is no such callable, or a list of another length than there are views or channels.
    """

    def __init__(
        self,
        *,
        transform: Reference | list[Reference],
        num_views: Count = 2,
        channels: Count = 3,
        size: Count = 224,
        mean: Annotated[list[float], Field(min_length=1)] = [0.485, 0.456, 0.406],  # noqa: B006 - an option's default, never mutated
        std: Annotated[list[Positive], Field(min_length=1)] = [0.229, 0.224, 0.225],  # noqa: B006
    ) -> None:
        super().__init__(num_views, channels, size, "bilinear", mean, std)
        self.references = transform if isinstance(transform, list) else [transform] * num_views
        if len(self.references) != num_views:
            raise UserError(
                f"views.transform: {len(self.references)} names for {num_views} views; give one, or one per view."
            )
        self._transforms = [_find(reference) for reference in self.references]

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Return one seed per sample and view, `(num, num_views)`."""
        return {"seed": torch.randint(2**63 - 1, (num, self.num_views), generator=generator)}

    def cut(self, samples: Samples, params: dict[str, Tensor]) -> list[Tensor]:
        """Return the views of each sample, `(V, C, S, S)`.

        Raises:
            UserError: samples of other types or channels, or a transform that fails or returns anything
                but a view.
        """
        self.check_samples(samples)
        with torch.no_grad(), kept_generators():
            return [
                torch.stack([self._view(view, sample, seed) for view, seed in enumerate(seeds)])
                for sample, seeds in zip(samples, params["seed"].tolist(), strict=True)
            ]

    def _view(self, view: int, sample: Tensor, seed: int) -> Tensor:
        seed_generators(seed)
        try:
            made = self._transforms[view](sample.clone())  # a transform may work in place
        except Exception as error:
            raise UserError(
                f"views.transform: {self.references[view]} fails on a {str(sample.dtype).removeprefix('torch.')} image "
                f"of shape {tuple(sample.shape)}: {describe_error(error)}."
            ) from error
        wanted = (self.channels, self.size, self.size)
        if not isinstance(made, Tensor) or not made.is_floating_point() or made.shape != wanted:
            got = f"{made.dtype} of shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            raise UserError(
                f"views.transform: {self.references[view]} must return a float tensor of shape {wanted}, but returned "
                f"{got}; end it with a resize and ToDtype(torch.float32, scale=True), or change views.size or "
                "views.channels."
            )
        return made.as_subclass(Tensor).float()

    def collate(self, samples: Samples, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the payload for `forward`: `views` `(V, B, C, S, S)`, float32.

        Args:
            samples: images `(B, C, H, W)`, a list of images, or what `cut` made of them.
            params: what `draw` returned for them.
        """
        cut = not isinstance(samples, Tensor) and samples[0].ndim == 4
        return {"views": torch.stack(list(samples) if cut else self.cut(samples, params), dim=1)}

    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views, each `(B, C, S, S)` float32, on the payload's device."""
        return [View(x, self.modality) for x in payload["views"]]


def _find(reference: str) -> Transform:
    """Return the callable `module:name`; nothing but the import of its module is executed."""
    module, _, name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:
        raise UserError(
            f"views.transform: the module of {reference} cannot be imported: {describe_error(error)}; run from its "
            f"folder with --import {module}, or install it."
        ) from error
    if not callable(found):
        wrong = f"has no {name!r}" if found is None else f"has {name!r}, but it cannot be called"
        raise UserError(f"views.transform: the module {module} {wrong}; name a callable of it, as {module}:NAME.")
    return found
