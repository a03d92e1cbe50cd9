"""Counts of a recipe's network: weights, arithmetic and saved activations, on fake tensors; nothing is computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ssl_zoo.batch import View, encode
from ssl_zoo.distributed.units import units
from ssl_zoo.methods.build import build
from ssl_zoo.recipe.load import load_recipe

VIT_L = ("encoder=vit", "encoder.patch=16", "encoder.width=1024", "encoder.depth=24", "encoder.heads=16")
"""A ViT-L/16 as overrides of a recipe."""

_SAMPLES = 4


@dataclass(frozen=True)
class Counts:
    """What a step costs, apart from processes.

    Attributes:
        encoder: weights of the encoder.
        heads: weights of the heads.
        blocks: sharding units of the encoder, all about as large.
        largest: weights of the largest unit, a block or a linear layer of a head.
        forward: FLOP of the forward pass of one view of one sample, heads included (a multiply-add is two).
        saved: bytes that the backward pass of one view of one sample keeps, in bfloat16 autocast.
        boundaries: bytes of these where only each block's input is kept.
        views: views of a sample.
        dim: width of z.
    """

    encoder: int
    heads: int
    blocks: int
    largest: int
    forward: float
    saved: float
    boundaries: float
    views: int
    dim: int

    @property
    def weights(self) -> int:
        """Weights of the online branch."""
        return self.encoder + self.heads


def count(recipe: str, num_views: int = 2) -> Counts:
    """Count a recipe with a ViT-L/16 at 224 px."""
    loaded = load_recipe(recipe, [*VIT_L, "target=stop_gradient"])  # a target of its own costs what the branch does
    options = loaded.encoder.options
    width, depth, tokens = options["width"], options["depth"], (224 // options["patch"]) ** 2
    with FakeTensorMode():
        method = build(loaded)
        x = torch.randn(_SAMPLES, 3, 224, 224)
        encoder, projector = method.encoder, method.projector
        saved: dict[int, tuple[torch.UntypedStorage, int]] = {}
        weights = {id(weight.untyped_storage()) for weight in method.parameters()}

        def keep(value: Tensor) -> Tensor:
            storage = value.untyped_storage()
            if id(storage) not in weights:
                saved[id(storage)] = (storage, storage.nbytes())  # the storage is kept so that no other gets its id
            return value

        flops = FlopCounterMode(display=False)
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value)
        with flops, torch.autocast("cpu", dtype=torch.bfloat16), hooks:
            z = projector(encode(encoder, View(x)))
        attention = 4 * depth * tokens**2 * width  # two products a block, which the counter does not know here
        return Counts(
            encoder=_size(encoder),
            heads=_size(method) - _size(encoder),
            blocks=depth,
            largest=max(_size(unit.module) for unit in units(method)),
            forward=flops.get_total_flops() / _SAMPLES + attention,
            saved=sum(size for _, size in saved.values()) / _SAMPLES,
            boundaries=4.0 * depth * tokens * width,
            views=num_views,
            dim=z.shape[1],
        )


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
