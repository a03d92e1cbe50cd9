"""Any model of timm as an encoder: `timm/NAME`, loaded when it is asked for."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ssl_zoo.errors import UserError, suggest
from ssl_zoo.registry import register


@register("encoder", "timm/*")
class TimmEncoder(nn.Module):
    """A timm model without its classifier, untrained: `(B, C, H, W)` -> its pooled features `(B, out_dim)`.

    Args:
        model: timm's name of it.
        size: height and width of the views; models of a fixed input size are built for it. None: timm's own.
        local_size: height and width of local views, where there are any; such models must then take both sizes.
        in_channels: of the images.
        drop_path: rate of stochastic depth, for models that have it; None keeps timm's default.

    Raises:
        UserError: timm has no such model, or it does not take such images.
    """

    def __init__(
        self,
        model: str,
        size: int | None = None,
        local_size: int | None = None,
        *,
        in_channels: Annotated[int, Field(ge=1)] = 3,
        drop_path: Annotated[float, Field(ge=0, lt=1)] | None = None,
    ):
        import timm

        super().__init__()
        if not timm.is_model(model):
            raise UserError(f"encoder 'timm/{model}': timm has no such model{_nearest(model, timm.list_models())}")
        self.in_channels = in_channels
        options: dict[str, Any] = {} if drop_path is None else {"drop_path_rate": drop_path}
        try:
            config = timm.get_pretrained_cfg(model)
            if size is not None and config is not None and config.fixed_input_size:
                options["img_size"] = size
                if local_size not in (None, size):
                    options["dynamic_img_size"] = True
            made: Any = timm.create_model(model, pretrained=False, num_classes=0, in_chans=in_channels, **options)
            self.model: nn.Module = made
            self.out_dim: int = getattr(made, "head_hidden_size", made.num_features)
            for each in (size, local_size):
                if each is not None:
                    self._try(each)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            where = "" if size is None else f" for views of {size} pixels"
            reason = str(error) or type(error).__name__
            raise UserError(f"encoder 'timm/{model}': timm cannot make it{where}: {reason}") from None

    @torch.no_grad()
    def _try(self, size: int) -> None:
        """Run one image through: some models are built for a size that they then cannot work at."""
        self.eval()
        h = self(torch.zeros(1, self.in_channels, size, size))
        self.train()
        if h.shape != (1, self.out_dim):
            raise ValueError(f"its features have shape {tuple(h.shape)}, not (1, {self.out_dim})")

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, out_dim)` of images `(B, C, H, W)`."""
        return self.model(x)


def _nearest(model: str, known: list[str]) -> str:
    hint = suggest(model, known).partition(" Known: ")[0]
    return f"{hint} See timm.list_models()."
