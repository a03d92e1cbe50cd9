"""What is measured of held-out samples, apart from the guard: whether a sample's other view can still be found.

All is in eval mode, on two views of 200 held-out samples that keep 80 % of the pixels. Embeddings are disturbed first,
by noise of a tenth of their length: what only shows in smaller differences is of no use, and a cosine, in which the
training has its signal, hardly sees it. Where shrinking solves the objective, the length is that of the untrained
network at least. Of softmax heads, z is the root of the probabilities, whose length is 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.guard.data import views_of
from ssl_zoo.batch import View, encode, tokens_of
from ssl_zoo.evaluation.features import evaluating
from ssl_zoo.methods.members import apply

NOISE, CANDIDATES, NEIGHBOURS, PART = 0.1, 20, 5, 0.8
WARM, PLACES = 8, 4


def disturbed(x: Tensor, number: int, least: float = 0.0) -> Tensor:
    """Return embeddings `(..., D)` in float64 with noise of a tenth of their length, or of a least length.

    The noise is the same at each time, and another one for each view, by its number.
    """
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    length = x.double().norm(dim=-1, keepdim=True).clamp_min(least)
    return x.double() + NOISE * length / x.shape[-1] ** 0.5 * noise


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x - x.mean(dim=-2, keepdim=True), dim=-1)


def nearer(a: Tensor, b: Tensor) -> Tensor:
    """Return of each row of a how many rows of b are nearer than its own, by cosine of the centred `(..., N, D)`."""
    similarity = _unit(a) @ _unit(b).transpose(-1, -2)
    own = similarity.diagonal(dim1=-2, dim2=-1)[..., None]
    return (similarity > own).sum(dim=-1)


def found(a: Tensor, b: Tensor) -> float:
    """Return how often a sample is found by its other view among 20: the expectation over all choices of 19 others."""
    others = a.shape[-2] - 1
    chance = [math.comb(others - k, CANDIDATES - 1) / math.comb(others, CANDIDATES - 1) for k in range(others + 1)]
    return torch.tensor(chance, dtype=torch.float64)[nearer(a, b)].mean().item()


def same_label(x: Tensor, labels: Tensor) -> float:
    """Return how often a sample's label is that of its 5 nearest others."""
    similarity = (_unit(x) @ _unit(x).T).fill_diagonal_(-2)
    votes = labels[similarity.topk(NEIGHBOURS, dim=1).indices]
    return (votes.mode(dim=1).values == labels).double().mean().item()


def partner(a: Tensor, b: Tensor, labels: Tensor) -> float:
    """Return how often the nearest of another member has the label of the sample, both ways."""
    similarity = _unit(a) @ _unit(b).T
    right = [(labels[each.argmax(dim=1)] == labels).double().mean() for each in (similarity, similarity.T)]
    return (sum(right) / 2).item()


def participation(x: Tensor) -> float:
    """Return (sum of the spectrum)^2 / (sum of its squares), of the covariance of the undisturbed x in float64."""
    spectrum = torch.linalg.eigvalsh(torch.cov(x.double().T)).clamp_min(0)
    return (spectrum.sum() ** 2 / spectrum.square().sum().clamp_min(1e-300)).item()


class Truth:
    """Measures the state of a training on two views of held-out samples; of members, the worst.

    Args:
        method: that is trained.
        images: held out, of each member.
        labels: of the samples.
        names: of the members, or one.
        masked: whether the method predicts tokens.
    """

    def __init__(self, method: Any, images: Sequence[Tensor], labels: Tensor, names: Sequence[str], masked: bool):
        generator = torch.Generator().manual_seed(12345)
        both = [name for name in dict.fromkeys(names) for _ in range(2)]
        self.views: list[View] = views_of(images, both, generator, PART)
        self.method, self.labels, self.masked, self.least = method, labels, masked, 0.0

    def start(self) -> dict[str, float]:
        """Return what the untrained network does, with BatchNorm's statistics made from the held-out samples."""
        method, self.method = self.method, deepcopy(self.method)
        norms = [each for each in self.method.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = None  # the mean of all batches
        self.method.train()
        with torch.no_grad():
            for _ in range(WARM if norms else 0):
                self._embed()
        if self.method.shrinks:
            with evaluating(self.method), torch.no_grad():
                self.least = self._embed()["z"][0].double().norm(dim=1).square().mean().sqrt().item()
        values = self.measure()
        self.method = method
        return values

    def _embed(self) -> dict[str, list[Tensor]]:
        h = [encode(self.method.encoder, each) for each in self.views]
        if self.masked:
            return {"h": h}
        z = [apply(self.method.projector, x, each) for x, each in zip(h, self.views, strict=True)]
        return {"h": h, "z": z}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Return {metric: value}: `found`, `knn` and `participation` of z and h, `partner`, and of tokens."""
        with evaluating(self.method):
            embedded = self._embed()
            tokens = [tokens_of(self.method.encoder, each)[0] for each in self.views] if self.masked else []
        if not all(x.isfinite().all() for each in embedded.values() for x in each):
            return {"finite": 0.0}
        values: dict[str, float] = {}
        for kind, each in embedded.items():
            temperature = self.method.cluster_temperature if kind == "z" else None
            x = [(e.double() / temperature).softmax(dim=1).sqrt() for e in each] if temperature else each
            least = self.least if kind == "z" else 0.0
            seen = [disturbed(e, number, least) for number, e in enumerate(x)]
            for plain, first, second in zip(each[::2], seen[::2], seen[1::2], strict=True):
                now = {"found": found(first, second), "knn": same_label(first, self.labels),
                       "participation": participation(plain)}  # fmt: skip
                values |= {f"{key}_{kind}": min(v, values.get(f"{key}_{kind}", v)) for key, v in now.items()}
            if kind == "z" and len(seen) > 2:
                values["partner"] = partner(seen[0], seen[2], self.labels)
        return values | (self._tokens(tokens) if tokens else {})

    def _tokens(self, tokens: Sequence[Tensor]) -> dict[str, float]:
        """Return how often a token's place is found in its sample, and its sample among 20 at its place."""
        a, b = (disturbed(F.layer_norm(x, x.shape[2:]), number) for number, x in enumerate(tokens))
        places = torch.linspace(0, a.shape[1] - 1, PLACES).long().tolist()
        at_place = [found(a[:, place], b[:, place]) for place in places]
        return {"place": (nearer(a, b) == 0).double().mean().item(), "sample": sum(at_place) / PLACES}
