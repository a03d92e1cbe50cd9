"""LeVLJEPA in plain torch, from Kuhn et al. 2026 (arXiv 2607.00784) and the authors' code."""

from collections.abc import Sequence

from torch import Tensor, nn

from tests.oracles import networks
from tests.oracles.lejepa import sigreg
from tests.oracles.networks import mlp


class Oracle(networks.Oracle):
    """z of image and of text; one predictor from image to text, and one from text to image."""

    def __init__(
        self, encoder: nn.Module, width: int, dims: Sequence[int], predictor: Sequence[int], lambd: float = 0.02
    ):
        options = {"bias": True, "last_bias": True, "activation": nn.GELU}
        projectors = nn.ModuleList(mlp(width, dims, **options) for _ in range(2))
        predictors = nn.ModuleList(mlp(dims[-1], predictor, **options) for _ in range(2))
        super().__init__(encoder, projectors, predictors)
        self.lambd = lambd

    def loss(self, views: Sequence[Tensor], directions: Tensor) -> Tensor:
        """(1 - 2 lambda) (|p_it - sg(z_t)|^2 + |p_ti - sg(z_i)|^2) / 2D + lambda SIGReg(z_i) + lambda SIGReg(z_t)."""
        image, text = (g(f(x)) for f, g, x in zip(self.encoder.children(), self.projector, views, strict=True))
        to_text, to_image = self.predictor[0](image), self.predictor[1](text)
        errors = ((to_text - text.detach()) ** 2).mean() + ((to_image - image.detach()) ** 2).mean()
        spread = sigreg(image, directions) + sigreg(text, directions)
        return (1 - 2 * self.lambd) * errors / 2 + self.lambd * spread
