"""What the metrics of embeddings are made of, of all views and all their pairs in one pass over the data.

Sums over samples and inner products of views are all that the spread, the scale and the similarities of any number of
views need: a matrix `(V, V)` each, whose entries are the pairs. They are computed in float64 on the device of the
embeddings, in a number of kernels that does not depend on V, and are small. What is left, eigenvalues of a matrix of
256 rows among it, is done on the host: an eigenvalue solver waits for its device, and on a GPU it is no faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

RANK_ROWS = 256
"""Rows of a batch that scale and effective rank are computed from, so that their cost is bounded."""

AT_ONCE = {"cpu": 2**18, "cuda": 2**24}
"""Numbers of embeddings that are worked on at once: on a CPU what its cache holds, else what leaves room for others."""

STRIPS, LEAST_STRIP = 4, 40
"""Strips that a Gram matrix is computed in on a CPU, if each has so many rows: ten sixteenths of the work."""

FLOAT32_EPS = torch.finfo(torch.float32).eps

TINY = 1e-12
"""Lengths below it are taken for it, as torch's `normalize` does, so that a vector of zeros stays one."""


def views_at_once(z: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Yield views of one shape, as many as are worked on at once, and one at least."""
    num = max(1, _at_once(z[0]) // z[0].numel())
    for begin in range(0, len(z), num):
        yield z[begin : begin + num]


def _at_once(x: Tensor) -> int:
    return AT_ONCE.get(x.device.type, AT_ONCE["cuda"])


@dataclass
class Moments:
    """Sums over the samples of V views, and the ranks of R groups of them, all in float64.

    Attributes:
        units: inner products of the directions of two views `(V, V)`, summed over samples.
        totals: inner products of the sums of the directions of a step `(V, V)`, summed over steps.
        centred: inner products of the embeddings about the pivot `(V, V)`, summed over samples.
        off: inner products of the sums of those of a step, which is what the pivot is off the mean.
        head: `centred`, over the first rows alone.
        head_off: the same of `off`.
        std: the mean over dimensions of the root of the squared distances of directions from their mean `(V,)`.
        finite: the share of samples that are finite, in each view `(V,)`.
        all_finite: the share of samples that are finite in all views of a group `(R,)`.
        grams: the smaller Gram matrix of the centred first rows of the first view of each group `(R, m, m)`.
        sizes: the squared norm of those rows before they were centred `(R,)`.
    """

    units: Tensor
    totals: Tensor
    centred: Tensor
    off: Tensor
    head: Tensor
    head_off: Tensor
    std: Tensor
    finite: Tensor
    all_finite: Tensor
    grams: Tensor
    sizes: Tensor

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, in order."""
        return [getattr(self, each.name) for each in fields(self)]

    def part(self, views: range, group: int) -> Moments:
        """Return those of some of the views, which are one group."""
        some, one = slice(views.start, views.stop), slice(group, group + 1)
        *pairs, std, finite, all_finite, grams, sizes = self.tensors
        units, totals, centred, off, head, head_off = (x[some, some] for x in pairs)
        alone = (std[some], finite[some], all_finite[one], grams[one], sizes[one])
        return Moments(units, totals, centred, off, head, head_off, *alone)


@dataclass
class _Sums:
    """Sums over rows; `unit`, `square` and `off` `(V, n, D)` are of each step."""

    units: Tensor
    centred: Tensor
    unit: Tensor
    square: Tensor
    off: Tensor

    def add(self, other: _Sums) -> _Sums:
        return _Sums(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def _inner(x: Tensor) -> Tensor:
    """Return the inner products of the views of x `(V, n, B, D)`, summed over all samples."""
    if x.device.type == "cpu":  # in one product; a GPU would work on one of so few rows with few of its units
        flat = x.flatten(1)
        return flat @ flat.T
    rows = x.flatten(1, 2)
    return (rows.transpose(0, 1) @ rows.permute(1, 2, 0)).sum(dim=0)


def _sums(z: Sequence[Tensor], start: int, stop: int, pivot: Tensor | None = None) -> tuple[_Sums, Tensor, Tensor]:
    """Return the sums over the rows from `start` to `stop`, their lengths `(V, n, rows)`, and the pivot.

    The pivot is near the mean, so that nothing is lost where it is subtracted: by default the mean of those that are
    worked on first.
    """
    num = max(1, _at_once(z[0]) // (len(z) * z[0][:, 0].numel()))
    found, lengths = [], []
    for begin in range(start, stop, num):
        x = torch.stack([view[:, begin : min(begin + num, stop)] for view in z]).double()
        length = x.norm(dim=3, keepdim=True)
        lengths.append(length.squeeze(3))
        is_mean, pivot = pivot is None, x.mean(dim=2, keepdim=True) if pivot is None else pivot
        about = x - pivot
        off = torch.zeros_like(pivot[:, :, 0]) if is_mean else about.sum(dim=2)
        unit = x.div_(length.clamp_min_(TINY))
        sums = _Sums(_inner(unit), _inner(about), unit.sum(dim=2), unit.square_().sum(dim=2), off)
        found.append(sums)
    whole = found[0]
    for each in found[1:]:
        whole = whole.add(each)
    assert pivot is not None
    return whole, torch.cat(lengths, dim=2) if len(lengths) > 1 else lengths[0], pivot


@torch.no_grad()
def moments(z: Sequence[Tensor], groups: Sequence[range]) -> Moments:
    """Return the sums that the metrics of views are made of.

    Args:
        z: embeddings `(n, B, D)` of n steps, one per view, all of one shape, B >= 2, in any precision.
        groups: the views that are judged together; the rank is that of the first of each.
    """
    rows, few = z[0].shape[1], head_rows(*z[0].shape[:2])
    sums, lengths, pivot = _sums(z, 0, few)
    head, head_off = sums.centred, _inner(sums.off[:, :, None])
    off, squares = head_off, torch.stack([lengths[group.start] for group in groups]).square().sum(dim=(1, 2))
    if few < rows:
        rest, more, _ = _sums(z, few, rows, pivot)
        sums, lengths = sums.add(rest), torch.cat([lengths, more], dim=2)
        off = _inner(sums.off[:, :, None])
    finite = lengths.isfinite()
    spread = torch.addcmul(sums.square, sums.unit, sums.unit, value=-1 / rows).clamp_min_(0).sum(dim=1)
    first = torch.stack([z[group.start][:, :few] for group in groups]).double()  # (R, n, few, D)
    first = first.sub_(first.mean(dim=2, keepdim=True)).flatten(1, 2)
    return Moments(
        units=sums.units,
        totals=_inner(sums.unit[:, :, None]),
        centred=sums.centred,
        off=off,
        head=head,
        head_off=head_off,
        std=spread.sqrt_().mean(dim=1),
        finite=finite.mean(dim=(1, 2), dtype=torch.float64),
        all_finite=torch.stack(
            [finite[group.start : group.stop].all(dim=0).mean(dtype=torch.float64) for group in groups]
        ),
        grams=smaller_gram(first),
        sizes=squares,
    )


def head_rows(num_steps: int, rows: int) -> int:
    """Return how many rows of each step scale and rank are computed from."""
    return min(rows, max(2, RANK_ROWS // num_steps))


def smaller_gram(x: Tensor) -> Tensor:
    """Return x x^T or x^T x, the smaller one `(..., m, m)`, of x `(..., B, D)`; on a CPU perhaps its lower half alone.

    The matrix is symmetric, and solvers for eigenvalues read its lower half. A CPU computes it in strips, each up to
    the diagonal; a GPU would launch a kernel for each.
    """
    x = x if x.shape[-2] < x.shape[-1] else x.mT
    num = x.shape[-2]
    if x.device.type != "cpu" or num < STRIPS * LEAST_STRIP:
        return x @ x.mT
    gram, strip = x.new_zeros(*x.shape[:-1], num), -(-num // STRIPS)
    for begin in range(0, num, strip):
        end = min(begin + strip, num)
        gram[..., begin:end, :end] = x[..., begin:end, :] @ x[..., :end, :].mT
    return gram


def rank_of(gram: Tensor, size: float) -> float:
    """Return exp of the entropy of the singular values whose squares are the eigenvalues of `gram`; 0 if none is left.

    Args:
        gram: of centred rows `(m, m)`, in float64, of which the lower half is read.
        size: the squared norm of the rows; singular values below fp32's rounding of it count as 0.
    """
    sigma = np.sqrt(torch.linalg.eigvalsh(gram).numpy(force=True).clip(min=0))
    sigma = sigma[sigma > FLOAT32_EPS * size**0.5]
    p = sigma / sigma.sum()
    return math.exp(-(p * np.log(p)).sum()) if len(p) else 0.0
