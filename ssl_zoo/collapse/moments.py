"""What the metrics of embeddings are made of, of all views and all their pairs in one pass over the data.

Sums over samples and inner products of views are all that the spread, the scale and the similarities of any number of
views need: a matrix `(V, V)` each, whose entries are the pairs. They are computed in float64 on the device of the
embeddings, in a number of kernels that does not depend on V, and are small. What is left, eigenvalues of a matrix of
256 rows among it, is done on the host: an eigenvalue solver waits for its device, and on a GPU it is no faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

RANK_ROWS = 256
"""Rows of a batch that scale and effective rank are computed from, so that their cost is bounded."""

AT_ONCE = {"cpu": 2**18, "cuda": 2**24}
"""Numbers of embeddings that are worked on at once: on a CPU what its cache holds, else what leaves room for others."""

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
        centred: inner products of the centred embeddings `(V, V)`, summed over samples.
        std: the spread of the directions of each view `(V,)`.
        scale: the mean variance of a dimension of each view `(V,)`, over the first rows.
        finite: the share of samples that are finite, in each view `(V,)`.
        all_finite: the share of samples that are finite in all views of a group `(R,)`.
        grams: the smaller Gram matrix of the centred first rows of the first view of each group `(R, m, m)`.
        sizes: the squared norm of those rows before they were centred `(R,)`.
    """

    units: Tensor
    totals: Tensor
    centred: Tensor
    std: Tensor
    scale: Tensor
    finite: Tensor
    all_finite: Tensor
    grams: Tensor
    sizes: Tensor

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, in order."""
        return [getattr(self, each.name) for each in fields(self)]


@dataclass
class _Sums:
    """Sums over rows. `pivot` is near the mean, so that nothing is lost where it is subtracted."""

    pivot: Tensor
    units: Tensor
    centred: Tensor
    unit: Tensor
    square: Tensor
    off: Tensor
    rows: int

    def add(self, other: _Sums) -> _Sums:
        return _Sums(self.pivot, *(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)[1:]))

    def inner(self) -> Tensor:
        """Return the inner products of the embeddings about their mean."""
        return self.centred - _inner(self.off[:, :, None]) / self.rows

    def variances(self) -> Tensor:
        """Return the squared distances from the mean of each view."""
        return self.inner().diagonal()


def _inner(x: Tensor) -> Tensor:
    """Return the inner products of the views of x `(V, n, B, D)`, summed over all samples."""
    rows = x.flatten(1, 2)
    return (rows.transpose(0, 1) @ rows.permute(1, 2, 0)).sum(dim=0)


def _sums(z: Sequence[Tensor], start: int, stop: int, pivot: Tensor | None = None) -> tuple[_Sums, Tensor]:
    """Return the sums over the rows from `start` to `stop`, and which of them are finite `(V, n, rows)`.

    The pivot is by default the mean of those that are worked on first.
    """
    num = max(1, _at_once(z[0]) // (len(z) * z[0][:, 0].numel()))
    found, finite = [], []
    for begin in range(start, stop, num):
        x = torch.stack([view[:, begin : min(begin + num, stop)] for view in z]).double()
        length = x.norm(dim=3, keepdim=True)
        finite.append(length.squeeze(3).isfinite())
        pivot = x.mean(dim=2, keepdim=True) if pivot is None else pivot
        about = x - pivot
        centred, off = _inner(about), about.sum(dim=2)
        unit = x.div_(length.clamp_min_(TINY))
        units, total = _inner(unit), unit.sum(dim=2)
        found.append(_Sums(pivot, units, centred, total, unit.square_().sum(dim=2), off, x.shape[2]))
    whole = found[0]
    for each in found[1:]:
        whole = whole.add(each)
    return whole, torch.cat(finite, dim=2)


@torch.no_grad()
def moments(z: Sequence[Tensor], groups: Sequence[range]) -> Moments:
    """Return the sums that the metrics of views are made of.

    Args:
        z: embeddings `(n, B, D)` of n steps, one per view, all of one shape, B >= 2, in any precision.
        groups: the views that are judged together; the rank is that of the first of each.
    """
    num_steps, rows, width = z[0].shape
    few, correction = min(rows, max(2, RANK_ROWS // num_steps)), int(num_steps > 1)
    sums, finite = _sums(z, 0, few)
    scale = sums.variances() / (num_steps * (few - correction) * width)
    if few < rows:
        rest, more = _sums(z, few, rows, sums.pivot)
        sums, finite = sums.add(rest), torch.cat([finite, more], dim=2)
    variance = (sums.square - sums.unit.square() / rows) / (rows - correction)
    first = torch.stack([z[group[0]][:, :few] for group in groups]).double()  # (R, n, few, D)
    grams = (first - first.mean(dim=2, keepdim=True)).flatten(1, 2)
    wide = grams.shape[1] < width
    return Moments(
        units=sums.units,
        totals=_inner(sums.unit[:, :, None]),
        centred=sums.inner(),
        std=variance.clamp_min(0).mean(dim=1).sqrt().mean(dim=1) * width**0.5,
        scale=scale,
        finite=finite.double().mean(dim=(1, 2)),
        all_finite=torch.stack([finite[group.start : group.stop].all(dim=0).double().mean() for group in groups]),
        grams=grams @ grams.transpose(1, 2) if wide else grams.transpose(1, 2) @ grams,
        sizes=first.square().sum(dim=(1, 2, 3)),
    )


def rank_of(gram: Tensor, size: Tensor) -> Tensor:
    """Return exp of the entropy of the singular values whose squares are the eigenvalues of `gram`; 0 if none is left.

    Args:
        gram: of centred rows `(m, m)`, in float64.
        size: the squared norm of the rows; singular values below fp32's rounding of it count as 0.
    """
    sigma = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    sigma = sigma.where(sigma > torch.finfo(torch.float32).eps * size.sqrt(), 0)
    p = sigma / sigma.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return torch.special.entr(p).sum().exp() * (sigma.sum() > 0)
