"""What a first recipe on images begins with: by their size, channels and number, and by the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ssl_zoo.data.defaults import Defaults, Given, Setting

SMALL, MEDIUM = 64, 160
"""Short sides, in pixels, from which images count as medium and as large."""

ENOUGH = 20_000
"""Large images from which on the method's own setting, that of ImageNet, is taken on a GPU."""

POLICIES = ("augment", "multi_crop")
"""The view policies of this modality."""

BLOWN_UP = 2.0
"""Views may be so many times as large as the images before a user is told."""


@dataclass(frozen=True)
class Look:
    """What was seen of some images.

    Attributes:
        side: median of the short sides, in pixels.
        sizes: from the smallest to the largest, as a text.
        channels: as they were read.
        grey: whether all channels of all of them are equal, or there is one.
        dtype: of the values.
    """

    side: int
    sizes: str
    channels: int
    grey: bool
    dtype: torch.dtype

    @property
    def kind(self) -> str:
        """`small`, `medium` or `large`."""
        return "small" if self.side < SMALL else "medium" if self.side < MEDIUM else "large"


def look(samples: Iterable[Tensor]) -> Look:
    """Return what there is to see of images `(C, H, W)`, one after the other."""
    sides, areas, channels, grey, dtypes = [], {}, 0, True, Counter[torch.dtype]()
    for image in samples:
        height, width = image.shape[1:]
        sides.append(min(height, width))
        areas[height * width] = f"{height}x{width}"
        channels, dtypes[image.dtype] = len(image), dtypes[image.dtype] + 1
        grey = grey and len(image) in (1, 3) and bool((image == image[:1]).all())
    least, most = areas[min(areas)], areas[max(areas)]
    sizes = least if least == most else f"{least} to {most}"
    return Look(int(median(sides)), sizes, channels, grey, dtypes.most_common(1)[0][0])


def image_defaults(samples: Iterable[Tensor], given: Given) -> Defaults:
    """Return the settings of a first recipe on images."""
    seen = look(samples)
    own = given.near is None or (given.accelerator and seen.kind == "large" and given.num >= ENOUGH)
    start: Any = given.method if own else given.near
    views = start["views"]
    whole = [] if views.get("name") in POLICIES else [_policy(given)]
    views = whole[0].value if whole else views
    bits = {torch.uint8: "8 bits", torch.uint16: "16 bits"}.get(seen.dtype, "floats")
    colours = "grey" if seen.grey else "RGB" if seen.channels == 3 else f"{seen.channels} channels"
    facts = {"size": f"{seen.sizes} (height x width), the median of the short sides is {seen.side}",
             "values": f"{colours}, {bits}"}  # fmt: skip
    settings = [*_encoder(seen, given, own), *whole, *_views(seen, given, own, views), *_colours(seen, views)]
    return Defaults(facts, tuple(settings), "method" if own else "near")


def _policy(given: Given) -> Setting:
    """Return the view policy for a method whose own views are of another modality."""
    if not given.has_patches:
        return Setting("views", {"name": "augment"}, "the method's own are of other data")
    plain = {"num_views": 1, "scale": [0.3, 1.0], "jitter": 0.0, "grey": 0.0, "blur": 0.0}
    return Setting("views", {"name": "augment", **plain}, "the method's own are of other data; it hides parts instead")


def size_of(seen: Look, given: Given, own: bool) -> tuple[int, str]:
    """Return the size of the views, and why."""
    patch = given.method["encoder"].get("patch", 1) if own and isinstance(given.method["encoder"], dict) else 1
    if seen.kind == "small":
        if given.accelerator or seen.side <= 24:
            return _multiple(seen.side, 4), f"the images have {seen.side} pixels, and larger views would show no more"
        return _multiple(
            seen.side * 3 // 4, 4
        ), f"three quarters of the images' {seen.side} pixels: half the work on a CPU"
    if not given.accelerator:
        size = 64 if seen.kind == "medium" else 112
        return size, f"on a CPU; images of {seen.side} pixels are made smaller for it, {seen.side} would be slower"
    if seen.kind == "medium":
        size = _multiple(min(seen.side, 96), 16)
        return size, f"what images of {seen.side} pixels have to show"
    size = 224 if seen.side >= 200 else _multiple(seen.side, max(16, patch))
    return size, f"the usual size for photographs; the images have {seen.side} pixels or so"


def _multiple(number: float, of: int) -> int:
    return max(of, int(number) // of * of)


def _encoder(seen: Look, given: Given, own: bool) -> Iterator[Setting]:
    size, _ = size_of(seen, given, own)
    if own and given.accelerator and seen.kind == "large":
        return
    if given.has_patches:
        patch = 2 if size < 20 else 4 if size <= 48 else size // 8
        small = size <= 48
        yield Setting(
            "encoder",
            {"name": "vit", "patch": patch, **({"width": 64, "depth": 3, "heads": 2} if small else
                                               {"width": 192, "depth": 6, "heads": 3})},
            f"the method hides patches: {size // patch} x {size // patch} of {patch} pixels",
        )  # fmt: skip
    elif seen.kind != "small":
        yield Setting("encoder", "resnet18", f"for images of {seen.side} pixels: the usual stem halves them twice")
    elif given.accelerator and size >= 16:
        yield Setting("encoder", {"name": "resnet18", "stem": "small"}, "a 3x3 stem, which keeps small images' details")
    else:
        widths = [16, 32, 64, 128] if size >= 16 else [32, 64, 128]
        yield Setting(
            "encoder", {"name": "convnet", "widths": widths},
            f"small enough for a CPU; {len(widths) - 1} of its stages halve {size} pixels",
        )  # fmt: skip


def _views(seen: Look, given: Given, own: bool, views: Any) -> Iterator[Setting]:
    size, why = size_of(seen, given, own)
    yield Setting("views.size", size, why)
    if "local_size" in views:
        yield Setting("views.local_size", _multiple(size * 3 / 7, 2), "three sevenths of the views, as in the papers")
    if seen.kind == "small":
        yield Setting("views.scale", views.get("scale", [0.2, 1.0]),
                      "crops of this part of the image's area; a smaller one shows a few pixels")  # fmt: skip
        yield Setting("views.blur", 0.0, "images this small have nothing to blur")
    elif not own:
        blur = given.method["views"].get("blur", 0.5)
        if not isinstance(blur, list) or len(blur) == views.get("num_views", 2):
            yield Setting("views.blur", blur, "the method's own: photographs are large enough to be blurred")


def _colours(seen: Look, views: Any) -> Iterator[Setting]:
    if seen.grey:
        yield Setting("views.channels", 1, "the images are grey")
    elif seen.channels != 3:
        yield Setting("views.channels", seen.channels, "as the files have it")
    if seen.grey or seen.channels != 3:
        for name in ("saturation", "hue", "grey"):
            yield Setting(f"views.{name}", 0.0, "needs colours (RGB)")
    if not seen.dtype.is_floating_point or not views.get("solarise"):
        return
    yield Setting("views.solarise", 0.0, "needs values with a known range, and these are floats")


def blown_up(image: Tensor, size: int) -> str:
    """Return what does not fit where views are much larger than an image `(C, H, W)`; empty where they fit."""
    side = min(image.shape[1:])
    if size < BLOWN_UP * side:
        return ""
    height, width = image.shape[1:]
    return f"images of {height}x{width} pixels are blown up to views of {size}"
