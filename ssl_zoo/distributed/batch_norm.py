"""BatchNorm over all processes: `norm: global` of a recipe.

The papers of most methods normalise by the statistics of the whole batch. With one process that is what plain BatchNorm
does; with several it sees its own shard only. torch's SyncBatchNorm needs a GPU; the layer here needs nothing but
`ssl_zoo.distributed.collectives`, so that a run is the same on every device and its gradients are those of one process.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # no public name for what BatchNorm1d, 2d and 3d share

from ssl_zoo.distributed import collectives
from ssl_zoo.errors import UserError

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm by the mean and variance of the batches of all processes, which must be of one shape.

    It has the parameters, buffers and names of the plain layer that `to_global` made it of, and is that layer exactly
    in evaluation mode and with one process.
    """

    plain: type[_BatchNorm]

    def _check_input_dim(self, input: Tensor) -> None:
        self.plain._check_input_dim(self, input)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised batch; input is `(B, C)` or `(B, C, ...)`, B the samples of this process."""
        uses_batch = self.training or self.running_mean is None
        if not uses_batch or collectives.num_processes() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        mean, variance = global_statistics(x)
        if self.training and self.track_running_stats:
            self._follow(mean.detach(), variance.detach(), collectives.num_processes() * x.numel() // x.shape[1])
        shape = (1, -1, *[1] * (x.dim() - 2))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        y = (x - mean.view(shape)) * scale.view(shape)
        if self.affine:
            y = y + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, num: int) -> None:
        """Move the running statistics; the variance that they hold is the unbiased one."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
        self.running_var.lerp_((variance * num / (num - 1)).to(self.running_var.dtype), factor)


def global_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance `(C,)` of each channel over the batches of all processes; x is `(B, C, ...)`.

    The shards are of one size. Each process takes the variance about its own mean, and what those means differ by is
    added: no difference of large numbers, as E[x^2] - E[x]^2 would be, and one exchange instead of two.
    """
    dims = [0, *range(2, x.dim())]
    variance, mean = torch.var_mean(x, dim=dims, correction=0)
    shards = collectives.gather(torch.stack([mean, variance])[None])  # (k, 2, C)
    means, variances = shards.unbind(dim=1)
    whole = means.mean(dim=0)
    return whole, variances.mean(dim=0) + (means - whole).square().mean(dim=0)


def to_global(module: nn.Module) -> None:
    """Turn all BatchNorm layers inside a module into `GlobalBatchNorm`, in place.

    Each layer stays the object it was, with its parameters, buffers and hooks: only its class changes, so that all that
    refers to it (an optimizer, the target network) still does. torch's SyncBatchNorm is left as it is.

    Raises:
        UserError: a subclass of BatchNorm that does more than normalise, which cannot be turned.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, (GlobalBatchNorm, nn.SyncBatchNorm)) or not isinstance(layer, _BatchNorm):
            continue
        if type(layer) not in PLAIN:
            raise UserError(
                f"norm: {name} is a {type(layer).__name__}, which cannot see the batches of other processes; "
                "use norm=local, one process, or an encoder with plain BatchNorm."
            )
        vars(layer)["plain"] = type(layer)
        layer.__class__ = GlobalBatchNorm


def to_plain(module: nn.Module) -> None:
    """Turn all `GlobalBatchNorm` inside a module back into the layers they were, in place."""
    for layer in module.modules():
        if isinstance(layer, GlobalBatchNorm):
            layer.__class__ = vars(layer).pop("plain")
