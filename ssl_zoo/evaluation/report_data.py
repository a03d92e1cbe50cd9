"""What an evaluation keeps for the report of a run: it looks on while protocols are run, and encodes nothing anew."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.errors import shown_name
from ssl_zoo.evaluation.features import Features, chosen
from ssl_zoo.evaluation.thumbnails import thumbnails
from ssl_zoo.rng import generator
from ssl_zoo.runs.report_data import MOST_COORDINATES, MOST_PAIRS, MOST_WIDTH, Guesses, ReportData, Shown, shortened

QUERIES, NEIGHBOURS = 8, 8
"""Samples whose neighbours are shown, and how many of each."""


class Keeper:
    """Keeps what a report shows of an evaluation.

    Args:
        most: samples that are shown, at most.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._features: dict[tuple[str, str], Features] = {}
        self._role, self._total = "", 0
        self._guesses: dict[str, Guesses] = {}

    def features(self, representation: str, member: str, role: str, features: Features) -> None:
        """Keep some of the features of a split.

        Args:
            representation: `encoder`, `untrained` or `raw`, of which the last is not kept.
            member: whose features they are; may be empty.
            role: the split, `train` or `test`.
            features: of its samples.
        """
        if representation == "raw":
            return
        index = chosen(len(features), self.most)
        self._features[representation, member] = features.take(index).to("cpu")
        self._role, self._total = role, len(features)

    def guesses(self, key: str, labels: Tensor, guesses: Tensor) -> None:
        """Keep what a protocol took samples for.

        Args:
            key: of the protocol in the results.
            labels: the true classes `(N,)`.
            guesses: the guessed ones `(N,)`.
        """
        self._guesses[key] = counted(labels.cpu(), guesses.cpu())

    def data(self, splits: dict[str, Split | None], policy: ViewPolicy, modality: Modality) -> ReportData | None:
        """Return what was kept, with the names and the thumbnails of the samples.

        Args:
            splits: by role.
            policy: the view policy.
            modality: of the samples.

        Returns:
            None where no protocol saw features of the encoder, or of too few samples.
        """
        trained = {member: each for (name, member), each in self._features.items() if name == "encoder"}
        split = splits.get(self._role)
        first = next(iter(trained.values()), None)
        if first is None or first.index is None or split is None or len(first) < 3:
            return None
        shown = [self._shown(member, each) for member, each in trained.items()]
        found = thumbnails(split, first.index, {each.name: each.pictured for each in shown}, policy, modality)
        for each in shown:
            made = found[each.name]
            each.texts = made.texts
            if made.sheets is not None:
                each.small, each.large = made.sheets
        names = [shortened(shown_name(split.name(i))) for i in first.index.tolist()]
        classes = None if split.class_names is None else [shortened(shown_name(name)) for name in split.class_names]
        return ReportData(self._role, self._total, names, first.y, classes, shown, self._guesses)

    def _shown(self, member: str, features: Features) -> Shown:
        unit = F.normalize(features.x.double(), dim=1)
        points, singular = principal_components(unit)
        whole = singular.square().sum().item()
        kept = singular[: points.shape[1]].square().sum().item() / whole if whole else 1.0
        queries, near, cosines = neighbours(unit, features.y)
        spectra = {"encoder": singular}
        if (untrained := self._features.get(("untrained", member))) is not None:
            spectra["untrained"] = principal_components(F.normalize(untrained.x.double(), dim=1), 0)[1]
        spectra = {name: values[:MOST_WIDTH] for name, values in spectra.items()}
        return Shown(member, features.x.shape[1], points, kept, queries, near, cosines, spectra)


def principal_components(x: Tensor, most: int = MOST_COORDINATES) -> tuple[Tensor, Tensor]:
    """Return the leading principal components of samples, and all singular values.

    Args:
        x: `(N, D)`; it is centred here.
        most: components.

    Returns:
        `(N, K)`, each component with its entry of largest size positive, so that the signs do not hang on the machine;
        and `(min(N, D),)`, the singular values over sqrt(N), which are the standard deviations along the components, in
        descending order.
    """
    centred = x - x.mean(dim=0)
    wide = len(x) < x.shape[1]
    gram = centred @ centred.T if wide else centred.T @ centred
    squares, vectors = torch.linalg.eigh(gram)
    singular = squares.flip(0).clamp_min(0).sqrt()
    leading = vectors.flip(1)[:, : min(most, len(singular))]
    points = leading * singular[: leading.shape[1]] if wide else centred @ leading
    if points.numel():
        points = points * points.gather(0, points.abs().argmax(dim=0, keepdim=True)).sign()
    return points, singular / len(x) ** 0.5


def neighbours(unit: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return some samples, and the nearest others of each by cosine.

    Args:
        unit: `(N, D)` vectors of unit length.
        labels: `(N,)`, or None. Where there are any, as many classes as possible are shown.

    Returns:
        The samples `(Q,)`; their neighbours `(Q, M)`, the nearest first; and the cosines `(Q, M)`.
    """
    order = torch.randperm(len(unit), generator=generator(0, "neighbours"))
    if labels is not None:
        seen: dict[int, int] = {}
        turns = []
        for label in labels[order].tolist():
            turns.append(seen.setdefault(label, 0))
            seen[label] += 1
        order = order[torch.tensor(turns).argsort(stable=True)]
    queries = order[:QUERIES]
    similarity = unit[queries] @ unit.T
    similarity[torch.arange(len(queries)), queries] = -torch.inf
    cosines, near = similarity.topk(min(NEIGHBOURS, len(unit) - 1), dim=1)
    return queries, near, cosines


def counted(labels: Tensor, guesses: Tensor) -> Guesses:
    """Return how often each class was taken for each.

    Args:
        labels: the true classes `(N,)`.
        guesses: the guessed ones `(N,)`.
    """
    num = int(torch.cat([labels, guesses]).max()) + 1
    keys, counts = (labels * num + guesses).unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:MOST_PAIRS]
    pairs = torch.stack([keys // num, keys % num, counts], dim=1)[order]
    right = torch.bincount(labels[labels == guesses], minlength=num)
    return Guesses(torch.stack([right, torch.bincount(labels, minlength=num)], dim=1), pairs)
