"""The five steps of BatchNorm over several processes, on a CPU: what torch has CUDA kernels for.

Each function does what torch's of the same name does, so that `ssl_zoo.distributed.batch_norm` calls either. On a CPU
each is one or two passes of torch's own BatchNorm over the data; statistics of half precision are float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _variance(invstd: Tensor, eps: float) -> Tensor:
    return (invstd.square().reciprocal() - eps).clamp_min(0)


def batch_norm_stats(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and 1 / sqrt(variance + eps) of each channel `(C,)`; input is `(B, C, ...)`."""
    dims = [0, *range(2, input.dim())]
    variance, mean = torch.var_mean(_wide(input), dim=dims, correction=0)
    return mean, (variance + eps).rsqrt()


def batch_norm_gather_stats_with_counts(
    input: Tensor, mean: Tensor, invstd: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
    momentum: float, eps: float, counts: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return mean and 1 / sqrt(variance + eps) of all batches `(C,)`, and move the running statistics.

    What the means differ by is added to the mean variance: no difference of large numbers, as E[x^2] - E[x]^2 is.

    Args:
        input: not looked at.
        mean: of each of k batches `(k, C)`.
        invstd: of each.
        running_mean: `(C,)`, or None.
        running_var: that of the unbiased variance.
        momentum: the part of the running statistics that is replaced.
        eps: added to variances.
        counts: values of a channel in each batch `(k,)`.
    """
    num = counts.sum()
    share = (counts / num)[:, None].to(mean.dtype)
    whole = (share * mean).sum(dim=0)
    variance = (share * (_variance(invstd, eps) + (mean - whole).square())).sum(dim=0)
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(whole.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * num / (num - 1)).to(running_var.dtype), momentum)
    return whole, (variance + eps).rsqrt()


def batch_norm_elemt(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float
) -> Tensor:
    """Return (input - mean) invstd weight + bias."""
    return F.batch_norm(_wide(input), mean, _variance(invstd, eps), weight, bias, False, 0.0, eps).to(input.dtype)


def batch_norm_backward_reduce(
    grad_out: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None,
    input_g: bool, weight_g: bool, bias_g: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the sums `(C,)` of the gradient, and of it times (input - mean); and the gradients of weight and bias."""
    _, scaled, total = torch.ops.aten.native_batch_norm_backward(
        _wide(grad_out), _wide(input), None, mean, invstd.square().reciprocal(), None, None, False, 0.0,
        [False, True, True],
    )  # fmt: skip
    return total, scaled / invstd, scaled.clone(), total.clone()


def batch_norm_backward_elemt(
    grad_out: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None,
    sum_dy: Tensor, sum_dy_xmu: Tensor, count: Tensor,
) -> Tensor:  # fmt: skip
    """Return the gradient of the input: that of the output less its projection on what the statistics remove.

    invstd weight (dy - mean dy - (input - mean) invstd^2 mean(dy (input - mean))), the means over all batches (Ioffe &
    Szegedy 2015, arXiv 1502.03167, section 3).
    """
    num = count.sum()
    scale = invstd if weight is None else invstd * weight
    slope, shift = -scale * sum_dy_xmu * invstd / num, -scale * sum_dy / num
    removed = F.batch_norm(_wide(input), mean, invstd.square().reciprocal(), slope, shift, False, 0.0, 0.0)
    shape = (1, -1, *[1] * (input.dim() - 2))
    return removed.addcmul_(_wide(grad_out), scale.view(shape)).to(input.dtype)
