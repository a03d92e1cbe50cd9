"""lightly's transforms as view policies: `lightly/NAME`; lightly is imported when one is used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data.source import Samples
from ssl_zoo.errors import UserError, describe_error
from ssl_zoo.modalities.image.views.generators import kept_generators, seed_generators
from ssl_zoo.modalities.image.views.policy import ImageViewPolicy
from ssl_zoo.registry import register
from ssl_zoo.registry.family import Family, doc_of_family
from ssl_zoo.registry.foreign import construct, installed, with_options_of

TRANSFORMS = {
    "AIMTransform": "one view for AIM",
    "BYOLTransform": "two views for BYOL, each with options of its own",
    "CAPITransform": "one view for CAPI",
    "DenseCLTransform": "two views for DenseCL",
    "DINOTransform": "two global views and local ones for DINO",
    "FastSiamTransform": "four views for FastSiam",
    "FDATransform": "two views with changes of frequencies",
    "IBOTTransform": "two global views and local ones for iBOT",
    "MAETransform": "one view for MAE",
    "MMCRTransform": "k views for MMCR",
    "MoCoV1Transform": "two views for MoCo",
    "MoCoV2Transform": "two views for MoCo v2",
    "MSNTransform": "two views and small ones for MSN",
    "SimCLRTransform": "two views for SimCLR",
    "SimSiamTransform": "two views for SimSiam",
    "SMoGTransform": "views of two sizes for SMoG",
    "SwaVTransform": "two global views and local ones for SwAV",
    "TiCoTransform": "two views for TiCo, each with options of its own",
    "VICRegTransform": "two views for VICReg",
    "WMSETransform": "num_samples views for W-MSE",
}
"""The transforms of `lightly.transforms` whose output is views, and what it is."""

_PIECE = "it is a step of a transform, and makes no views by itself"

REFUSED = {
    "AddGridTransform": _PIECE,
    "AmplitudeRescaleTransform": _PIECE,
    "DetConSTransform": "it needs masks beside the images",
    "IRFFT2DTransform": _PIECE,
    "PIRLTransform": "its second view is a stack of pieces of the image",
    "PhaseShiftTransform": _PIECE,
    "RFFT2DTransform": _PIECE,
    "RandomFrequencyMaskTransform": _PIECE,
    "VICRegLTransform": "it gives grids beside its views; use multi_crop, whose views have boxes",
}
"""The classes of `lightly.transforms` with `Transform` at the end of their name that are no view policies, and why."""


@register("views", "lightly/*")
class LightlyTransforms(Family):
    """A transform of lightly by its class name, such as lightly/SimCLRTransform: `ssl-zoo list views 'lightly/*'`."""

    members = {name: f"lightly's transform: {makes}." for name, makes in sorted(TRANSFORMS.items())}
    refused = REFUSED

    @classmethod
    @cache
    def member(cls, name: str) -> Callable[..., Any]:
        """Return what builds the view policy of a transform.

        Raises:
            UserError: the installed lightly has none of that name.
        """
        import lightly.transforms

        found = installed(lightly.transforms, name, f"views 'lightly/{name}'")

        def build(**options: Any) -> LightlyViews:
            return LightlyViews(name, construct(found, options))

        build.__module__ = __name__
        doc = (
            f"{cls.members[name]}\n\nIt is called once per sample, in the loader's workers, on an RGB image of 8 bits. "
            f"A view smaller than the first one is local.\nSee `help(lightly.transforms.{name})` for the options."
        )
        made = with_options_of(build, found, doc=doc)
        vars(made)["modality"] = LightlyViews.modality  # asked for before there is a policy
        return made


LightlyTransforms.__doc__ = doc_of_family(LightlyTransforms.__doc__ or "", LightlyTransforms)


def _normalisation(transform: Any) -> Any | None:
    """Return the first object in a transform that normalises, or None."""
    if type(transform).__name__ == "Normalize":
        return transform
    inner = transform if isinstance(transform, (list, tuple)) else vars(transform) if _holds(transform) else {}
    values = inner.values() if isinstance(inner, Mapping) else inner
    return next((found for each in values if (found := _normalisation(each)) is not None), None)


def _holds(value: Any) -> bool:
    """Return whether an object may hold a transform: one of lightly or torchvision, not a number or a name."""
    library = type(value).__module__.partition(".")[0]
    return library in ("lightly", "torchvision", "torch") and hasattr(value, "__dict__")


def _made(name: str, transform: Callable[[Image.Image], Any], sample: Tensor, seed: int) -> list[Tensor]:
    """Return what a transform makes of one image; its random numbers follow from a seed alone."""
    seed_generators(seed)
    image = Image.fromarray(sample.permute(1, 2, 0).contiguous().numpy())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release")
            made = transform(image)
        return [x.as_subclass(Tensor).float() for x in ([made] if isinstance(made, Tensor) else made)]
    except Exception as error:
        raise UserError(
            f"views 'lightly/{name}': fails on an image of shape {tuple(sample.shape)}: {describe_error(error)}."
        ) from error


class LightlyViews(ImageViewPolicy):
    """Views by a transform of lightly. Its sizes and roles are read from what it makes of a dry sample.

    The generators of torch, Python and NumPy are seeded for each sample, and restored, so that a run is reproducible
    and resumes exactly, with any number of workers and processes. Evaluation sees images that are resized, cut and
    normalised to the size and statistics of the first view.

    Args:
        name: of its class.
        transform: image -> a list of views `(3, S, S)`, or one view.

    Raises:
        UserError: it fails, makes other things than square views, or normalises in a way that is not understood.
    """

    def __init__(self, name: str, transform: Callable[[Image.Image], Any]) -> None:
        with kept_generators():
            dry = _made(name, transform, torch.zeros(3, 64, 64, dtype=torch.uint8), 0)
        shapes = [tuple(x.shape) for x in dry]
        if not shapes or any(len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2] for shape in shapes):
            raise UserError(f"views 'lightly/{name}': it makes {shapes}, not square views of 3 channels.")
        size, normalise = shapes[0][1], _normalisation(transform)
        mean, std = ([0.0], [1.0]) if normalise is None else (list(normalise.mean), list(normalise.std))
        super().__init__(len(shapes), 3, size, "bilinear", mean, std)
        if not torch.allclose(dry[0], -self.mean[0] / self.std[0], atol=1e-3):  # the dry sample is black, and stays so
            raise UserError(f"views 'lightly/{name}': how it normalises is not understood; use views: augment.")
        self.name, self._transform = name, transform
        roles = ["local" if shape[1] < size else "global" for shape in shapes]
        self._order = sorted(range(len(shapes)), key=lambda i: roles[i])  # the global ones first
        views = tuple(ViewSpec(roles[i], shapes[i], is_target=roles[i] == "global") for i in self._order)
        self.spec = InputSpec(self.modality, views, self._mean, self._std)

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Return one seed per sample, `(num,)`."""
        return {"seed": torch.randint(2**63 - 1, (num,), generator=generator)}

    def cut(self, samples: Samples, params: dict[str, Tensor]) -> list[list[Tensor]]:
        """Return the views of each sample, each `(3, S, S)`.

        Raises:
            UserError: samples that are no RGB images of 8 bits, or a transform that fails.
        """
        self.check_samples(samples)
        with torch.no_grad(), kept_generators():
            return [self._views(sample, seed) for sample, seed in zip(samples, params["seed"].tolist(), strict=True)]

    def _views(self, sample: Tensor, seed: int) -> list[Tensor]:
        made = _made(self.name, self._transform, sample, seed)
        shapes = [tuple(made[i].shape) for i in self._order] if len(made) == len(self._order) else []
        if shapes != [view.shape for view in self.spec.views]:
            got = [tuple(x.shape) for x in made]
            raise UserError(f"views 'lightly/{self.name}': it makes {got} of a sample, and others of another sample.")
        return [made[i] for i in self._order]

    def check_samples(self, samples: Samples) -> None:
        """Make sure that samples are RGB images of 8 bits.

        Raises:
            UserError: one is not.
        """
        super().check_samples(samples)
        if samples[0].dtype != torch.uint8:
            raise UserError(
                f"views 'lightly/{self.name}': lightly's transforms take images of 8 bits, not "
                f"{str(samples[0].dtype).removeprefix('torch.')}; use views: augment."
            )

    def collate(self, samples: Samples | Sequence[Any], params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the payload for `forward`: each view `(B, 3, S, S)`, float32, under its number.

        Args:
            samples: images `(B, 3, H, W)`, a list of images, or what `cut` made of them.
            params: what `draw` returned for them.
        """
        cut = not isinstance(samples, Tensor) and isinstance(samples[0], list)
        views = zip(*(samples if cut else self.cut(samples, params)), strict=True)
        return {f"view {i}": torch.stack(list(each)) for i, each in enumerate(views)}

    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views, global ones first, float32, on the payload's device."""
        return [
            View(payload[f"view {i}"], self.modality, view.role, view.is_target)
            for i, view in enumerate(self.spec.views)
        ]

    def picture(self, samples: Samples, views: Sequence[View], least: int = 64, gap: int = 2) -> Tensor:
        """Return a grid as `augment` does, with all views at the size of the global ones."""
        side = (self.size, self.size)
        shown = [View(interpolate(view.tensor, size=side), view.modality) for view in views]
        return super().picture(samples, shown, least, gap)
