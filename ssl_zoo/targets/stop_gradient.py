"""Targets that come from the online network itself: `stop_gradient` and `shared`."""

from collections.abc import Sequence

from torch import Tensor

from ssl_zoo.batch import View
from ssl_zoo.parts import Target
from ssl_zoo.registry import register


def global_only(views: Sequence[View], embeddings: Sequence[Tensor]) -> list[Tensor | None]:
    """Return one entry per view: its embedding, or None for a local view, which is no target."""
    return [x if view.is_target else None for view, x in zip(views, embeddings, strict=True)]


@register("target", "stop_gradient")
class StopGradient(Target):
    """t = stopgrad(z): the same network, no gradient (Chen & He 2021, equation 3, arXiv 2011.10566)."""

    def forward(self, views: Sequence[View], z: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the targets: z `(B, D)` of the global views, detached."""
        return global_only(views, [x.detach() for x in z])


@register("target", "shared")
class Shared(Target):
    """t = z: the same network, and the gradient flows through both branches (Barlow Twins, VICReg).

    Without a term that keeps the embedding space open, this is the set-up that collapses (Chen & He 2021, figure 2).
    """

    def forward(self, views: Sequence[View], z: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the targets: z `(B, D)` of the global views."""
        return global_only(views, z)
