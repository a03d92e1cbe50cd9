"""The same views and the same steps by other libraries, tuned as their documentation advises.

A tool for developers of this package, and no part of its API.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ssl_zoo.bench.timing import Side
from ssl_zoo.distributed.precision import Precision
from ssl_zoo.errors import UserError, needs
from ssl_zoo.hardware import Hardware, use_memory_format

WORKERS = min(16, os.cpu_count() or 1)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

Transform = Callable[[Any], Any]


class Views(Dataset[Any]):
    """A data set of images in memory with a transform, for the workers of a DataLoader."""

    def __init__(self, images: list[Any], transform: Transform) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Any:
        return self.transform(self.images[i])


def _as_pil(images: Tensor) -> list[Any]:
    from torchvision.transforms.functional import to_pil_image

    return [to_pil_image(image) for image in images]


def lightly_transform(size: int, blur: float) -> Transform:
    """Return lightly's SimSiam transform: PIL image -> two tensors."""
    needs("lightly", "lightly", "--against lightly")
    from lightly.transforms import SimSiamTransform

    return SimSiamTransform(input_size=size, gaussian_blur=blur)


def torchvision_transform(size: int, blur: float) -> Transform:
    """Return the same augmentations by torchvision's v2 transforms on uint8 tensors: image -> two tensors."""
    from torchvision.transforms import v2

    taps = 2 * min(6, (size - 1) // 2) + 1
    one = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(taps, (0.1, 2.0))], p=blur),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return lambda image: [one(image), one(image)]


def batches(images: Tensor, transform: Transform, batch_size: int, pil: bool, shuffle: bool = False) -> Any:
    """Return a DataLoader of views with persistent workers."""
    return DataLoader(
        Views(_as_pil(images) if pil else list(images), transform),
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=WORKERS,
        persistent_workers=True,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork" if sys.platform == "linux" else None,
    )


def views_side(name: str, images: Tensor, size: int, blur: float, batch_size: int) -> Side:
    """Return a side that makes two views of every image.

    Raises:
        UserError: the library is not installed, or not known.
    """
    if name == "kornia":
        return _kornia(images, size, blur, batch_size)
    makers = {"lightly": (lightly_transform, True), "torchvision": (torchvision_transform, False)}
    if name not in makers:
        raise UserError(f"--against {name}: known are lightly, torchvision, kornia.")
    make, pil = makers[name]
    loader = batches(images, make(size, blur), batch_size, pil)

    def run() -> int:
        count = 0
        for views in loader:
            pair = views[:2] if isinstance(views, (list, tuple)) else views
            assert pair[0].shape[1:] == pair[1].shape[1:] == (3, size, size)
            count += len(pair[0])
        return count

    return Side(name, run)


def _kornia(images: Tensor, size: int, blur: float, batch_size: int) -> Side:
    needs("kornia", "kornia", "--against kornia")
    import kornia.augmentation as K

    taps = 2 * min(6, (size - 1) // 2) + 1
    change = nn.Sequential(
        K.RandomResizedCrop((size, size), scale=(0.2, 1.0), cropping_mode="resample"),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((taps, taps), (0.1, 2.0), p=blur),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    ).to(device := "cuda" if torch.cuda.is_available() else "cpu")
    stored = images.to(device)

    @torch.no_grad()
    def run() -> int:
        count = 0
        for start in range(0, len(images) - batch_size + 1, batch_size):
            x = stored[start : start + batch_size].float() / 255
            one, other = change(x), change(x)
            assert one.shape == other.shape == (batch_size, 3, size, size)
            count += batch_size
        return count

    return Side("kornia", run)


def lightly_loop(encoder: nn.Module, dims: tuple[int, int, int], lr: float, images: Tensor, size: int, batch: int,
                 blur: float, weight_decay: float, hardware: Hardware) -> Side:  # fmt: skip
    """Return lightly's plain SimSiam loop, as in its examples, on an encoder of ours.

    It computes on the same device, in the same precision and memory format, from pinned batches: what is compared is
    the loop and its views.

    Args:
        encoder: `(B, 3, S, S)` -> h `(B, D)`.
        dims: hidden width and output width of the projector, hidden width of the predictor.
        lr: learning rate of SGD.
        images: uint8 `(N, 3, H, W)`; one run is one pass.
        size: of the views in pixels.
        batch: samples per step.
        blur: probability of blur.
        weight_decay: of SGD.
        hardware: device, precision and memory format of both sides.
    """
    transform = lightly_transform(size, blur)
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules.heads import SimSiamPredictionHead, SimSiamProjectionHead

    loader = batches(images, transform, batch, pil=True, shuffle=True)
    device, precision = hardware.device, Precision(hardware.precision, hardware.device)
    hidden, out, narrow = dims
    # torch types every attribute of a module as a tensor or a module
    projector = SimSiamProjectionHead(int(encoder.out_dim), hidden, out)  # type: ignore[arg-type]  # any module may be an encoder
    model = nn.ModuleList([encoder, projector, SimSiamPredictionHead(out, narrow, out)]).to(device)
    use_memory_format(model, hardware.memory_format)
    criterion = NegativeCosineSimilarity()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        from ssl_zoo.batch import View, encode

        z = model[1](encode(model[0], View(x)))
        return z.detach(), model[2](z)

    def run() -> int:
        count = 0
        for x0, x1 in loader:
            with precision.autocast():
                z0, p0 = forward(x0.to(device, non_blocking=True))
                z1, p1 = forward(x1.to(device, non_blocking=True))
                loss = 0.5 * (criterion(z0, p1) + criterion(z1, p0))
            precision.backward(loss)
            precision.step(optimizer, None)
            count += len(x0)
        return count

    return Side("lightly", run)
