"""torchvision's video ResNets as encoders, imported when one is built: `r3d_18`, `mc3_18`, `r2plus1d_18`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.registry import register


class VideoResNet(nn.Module):
    """One of torchvision's video ResNets without its classifier, untrained; weights have torchvision's names.

    Args:
        name: torchvision's name of it.
        channels: of the clips; the first convolution is made anew where they are not 3.

    Shapes: `(B, C, T, H, W)` -> `(B, 512)`.
    """

    out_dim = 512

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        from torchvision.models import video

        made: Any = getattr(video, name)(weights=None)
        if channels != 3:
            first = made.stem[0]
            made.stem[0] = nn.Conv3d(
                channels, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False
            )
            nn.init.kaiming_normal_(made.stem[0].weight, mode="fan_out", nonlinearity="relu")
        self.stem = made.stem
        self.layer1, self.layer2, self.layer3, self.layer4 = made.layer1, made.layer2, made.layer3, made.layer4

    def _maps(self, x: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        """Return the features of places `(B, N, 512)` and their grid (T', H', W'); their mean is the features."""
        maps = self._maps(view.tensor)
        return maps.flatten(2).transpose(1, 2), tuple(maps.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """Return the features `(B, 512)` of clips `(B, C, T, H, W)`."""
        return self._maps(x).mean(dim=(2, 3, 4))


@register("encoder", "r3d_18")
def r3d_18(spec: InputSpec) -> nn.Module:
    """ResNet-18 with 3D convolutions (Tran et al. 2018, arXiv 1711.11248), untrained: `(B, C, T, H, W)` -> `(B, 512)`.

    Args:
        spec: of the views, for their channels.
    """
    return VideoResNet("r3d_18", spec.channels)


@register("encoder", "mc3_18")
def mc3_18(spec: InputSpec) -> nn.Module:
    """ResNet-18, 3D in its first stage and 2D after it (same source), untrained: `(B, C, T, H, W)` -> `(B, 512)`.

    Args:
        spec: of the views, for their channels.
    """
    return VideoResNet("mc3_18", spec.channels)


@register("encoder", "r2plus1d_18")
def r2plus1d_18(spec: InputSpec) -> nn.Module:
    """ResNet-18 with (2+1)D convolutions (same source), untrained: `(B, C, T, H, W)` -> `(B, 512)`.

    Args:
        spec: of the views, for their channels.
    """
    return VideoResNet("r2plus1d_18", spec.channels)
