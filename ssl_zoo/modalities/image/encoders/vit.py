"""The encoder `vit`: a small vision transformer for any size of image, which masked methods can hide patches from."""

from typing import Annotated

from pydantic import Field

from ssl_zoo.batch import InputSpec
from ssl_zoo.modalities.transformer import PatchTransformer
from ssl_zoo.registry import register

Count = Annotated[int, Field(ge=1)]


@register("encoder", "vit")
class ViT(PatchTransformer):
    """Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), norms first, fixed positions, no class token.

    Its features are the mean of the tokens. ViT-B/16 is `patch: 16, width: 768, depth: 12, heads: 12`.

    Args:
        spec: of the views, for their channels and size.
        patch: height and width of a patch, in pixels; it divides the views' size.
        width: of the tokens and the features.
        depth: number of blocks.
        heads: of the attention; they divide the width.

    Shapes: `(B, C, H, W)` -> `(B, width)`.
    """

    def __init__(self, spec: InputSpec, *, patch: Count = 4, width: Count = 192, depth: Count = 6, heads: Count = 6):
        super().__init__("vit", spec, (patch, patch), width, depth, heads)
