"""lightly's heads: `lightly/NAME`; lightly is imported when one is used.

They are lightly's own modules, so that their weights have lightly's names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from ssl_zoo.registry import register
from ssl_zoo.registry.family import Family, doc_of_family
from ssl_zoo.registry.foreign import construct, installed, with_options_of

Width = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Kind:
    """A head of lightly.

    Attributes:
        summary: one line.
        width: its parameter that is the width of the output.
        leave_out: its parameters that are no options.
    """

    summary: str
    width: str = "output_dim"
    leave_out: tuple[str, ...] = ()


HEADS = {
    "BarlowTwinsProjectionHead": Kind("Barlow Twins' projector: three layers, BatchNorm between them."),
    "BYOLPredictionHead": Kind("BYOL's predictor: two layers, BatchNorm between them."),
    "BYOLProjectionHead": Kind("BYOL's projector: two layers, BatchNorm between them."),
    "CAPIProjectionHead": Kind("CAPI's prototypes on unit vectors.", "num_clusters"),
    "DenseCLProjectionHead": Kind("DenseCL's projector: two layers without a norm."),
    "DINOProjectionHead": Kind("DINO's projector with prototypes.", leave_out=("freeze_last_layer",)),
    "DINOv2ProjectionHead": Kind("DINOv2's projector with prototypes."),
    "LeJEPAProjectionHead": Kind("LeJEPA's projector."),
    "LeWMProjectionHead": Kind("LeWM's projector: two layers with GELU."),
    "MMCRProjectionHead": Kind("MMCR's projector."),
    "MoCoProjectionHead": Kind("MoCo's projector."),
    "MSNProjectionHead": Kind("MSN's projector: three layers with GELU."),
    "NNCLRPredictionHead": Kind("NNCLR's predictor."),
    "NNCLRProjectionHead": Kind("NNCLR's projector."),
    "SimCLRProjectionHead": Kind("SimCLR's projector."),
    "SimSiamPredictionHead": Kind("SimSiam's predictor: a bottleneck of two layers."),
    "SimSiamProjectionHead": Kind("SimSiam's projector: three layers, BatchNorm after each."),
    "SMoGPredictionHead": Kind("SMoG's predictor."),
    "SMoGProjectionHead": Kind("SMoG's projector."),
    "SwaVProjectionHead": Kind("SwAV's projector."),
    "SwaVPrototypes": Kind("SwAV's prototypes.", "n_prototypes", ("n_steps_frozen_prototypes",)),
    "TiCoProjectionHead": Kind("TiCo's projector."),
    "VICRegProjectionHead": Kind("VICReg's projector."),
    "VicRegLLocalProjectionHead": Kind("VICRegL's projector of places, with LayerNorm."),
}
"""The heads of `lightly.models.modules.heads` that map `(B, in_dim)` to `(B, out_dim)`."""

REFUSED = {
    "ProjectionHead": "it is the base of the others and takes its layers as modules; use mlp",
    "SMoGPrototypes": "it is given the groups' features beside the embeddings, and they are moved by its loop",
}
"""The heads of `lightly.models.modules.heads` that cannot be used, and why."""


@register("head", "lightly/*")
class LightlyHeads(Family):
    """A head of lightly by its class name, such as lightly/BYOLProjectionHead: `ssl-zoo list head 'lightly/*'`."""

    members = {name: kind.summary for name, kind in sorted(HEADS.items())}
    refused = REFUSED

    @classmethod
    @cache
    def member(cls, name: str) -> Callable[..., Any]:
        """Return what builds a head.

        Raises:
            UserError: the installed lightly has none of that name.
        """
        from lightly.models.modules import heads

        kind, found = HEADS[name], installed(heads, name, f"head 'lightly/{name}'")

        def build(in_dim: int, **options: Any) -> nn.Module:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
                head: Any = construct(found, {"input_dim": in_dim, **options})
            _forget_products(head)
            head.in_dim, head.out_dim = in_dim, options[kind.width]
            return head

        build.__module__ = __name__
        leave_out = ["input_dim", *kind.leave_out]
        doc = f"{kind.summary}\n\nSee `help(lightly.models.modules.heads.{name})` for the options."
        return with_options_of(build, found, takes=["in_dim"], leave_out=leave_out, types={kind.width: Width}, doc=doc)


LightlyHeads.__doc__ = doc_of_family(LightlyHeads.__doc__ or "", LightlyHeads)


def _forget_products(head: nn.Module) -> None:
    """Detach what torch's older weight normalisation computed: a target network is a copy, which it would prevent.

    It is computed anew in every forward pass.
    """
    for module in head.modules():
        weight = vars(module).get("weight")
        if weight is not None:
            module.weight = weight.detach()
