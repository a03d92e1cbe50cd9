"""The encoder `video_vit`: a vision transformer over tubelets, which masked methods can hide places of a clip from."""

from typing import Annotated

from pydantic import Field

from ssl_zoo.batch import InputSpec
from ssl_zoo.modalities.transformer import PatchTransformer
from ssl_zoo.registry import register

Count = Annotated[int, Field(ge=1)]


@register("encoder", "video_vit")
class VideoViT(PatchTransformer):
    """Vision transformer over patches of several frames (Arnab et al. 2021, arXiv 2103.15691, section 3.2: tubelets).

    Norms first, fixed positions along time, height and width, no class token; its features are the mean of the tokens.

    Args:
        spec: of the views, for their channels, frames and size.
        frames: of a tubelet; they divide the views' number of frames.
        patch: height and width of a tubelet, in pixels; it divides the views' size.
        width: of the tokens and the features.
        depth: number of blocks.
        heads: of the attention; they divide the width.

    Shapes: `(B, C, T, H, W)` -> `(B, width)`.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        frames: Count = 2,
        patch: Count = 8,
        width: Count = 192,
        depth: Count = 6,
        heads: Count = 6,
    ):
        keys = ("num_frames", "size", "size")
        super().__init__("video_vit", spec, (frames, patch, patch), width, depth, heads, keys)
