"""DirectCopy in plain torch, from Wang et al. 2021 (arXiv 2110.04947) and the authors' code."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.oracles import directpred


class Oracle(directpred.Oracle):
    """DirectPred with another W: DirectSet(alpha) with alpha = 1, for which no eigenvectors are needed."""

    def __init__(self, encoder: nn.Module, width: int, dims: Sequence[int], eps: float = 0.1):
        super().__init__(encoder, width, dims, eps=eps)

    def predictor_of(self, f: Tensor) -> Tensor:
        """F + eps I."""
        return f + self.eps * torch.eye(len(f), dtype=f.dtype)
