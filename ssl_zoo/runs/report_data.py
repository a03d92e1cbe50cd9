"""What a run leaves for its report: of some evaluated samples, and what classifiers confused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

MOST_SAMPLES = 5000
MOST_COORDINATES = 64
"""Leading principal components that are kept of each sample."""
MOST_WIDTH = 16384
"""The longest spectrum."""
MOST_PAIRS = 20_000
"""Pairs of a true and a guessed class that are kept."""
MOST_CLASSES = 100_000
MOST_TILES = 8192
"""The largest side of a picture of tiles, in pixels; also TensorBoard's largest."""


class Tiles(BaseModel):
    """Square pictures side by side in one JPEG, row by row.

    Attributes:
        side: of each, in pixels.
        columns: in a row.
        num: how many.
    """

    model_config = ConfigDict(strict=True, frozen=True)
    side: Annotated[int, Field(ge=8, le=256)]
    columns: Annotated[int, Field(ge=1, le=MOST_TILES)]
    num: Annotated[int, Field(ge=1, le=MOST_SAMPLES)]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture in pixels."""
        return self.columns * self.side, -(-self.num // self.columns) * self.side


@dataclass
class Shown:
    """Of one member of the samples, or of samples of one modality.

    Attributes:
        name: of the member; empty where samples are of one modality.
        width: of the features.
        points: `(N, K)`, the K leading principal components of the features, centred, at unit length.
        kept: the share of the features' variance that they hold, 0 to 1.
        queries: `(Q,)` samples whose neighbours are shown.
        neighbours: `(Q, M)` the samples nearest to each by cosine of the whole features, the nearest first.
        cosines: `(Q, M)` float32.
        spectra: `{representation: (R,)}` the singular values of the centred features at unit length over sqrt(N), in
            descending order.
        texts: an excerpt of each sample, where it is a text.
        small: the tiles of all samples and their JPEG; None where there are none.
        large: the same of `pictured` alone, larger.
    """

    name: str
    width: int
    points: Tensor
    kept: float
    queries: Tensor
    neighbours: Tensor
    cosines: Tensor
    spectra: dict[str, Tensor]
    texts: list[str] | None = None
    small: tuple[Tiles, bytes] | None = None
    large: tuple[Tiles, bytes] | None = None

    @property
    def pictured(self) -> list[int]:
        """The samples that `large` shows, in its order: the queries and their neighbours, ascending."""
        return sorted({*self.queries.tolist(), *self.neighbours.flatten().tolist()})


@dataclass
class Guesses:
    """What a classifier took samples for.

    Attributes:
        per_class: `(C, 2)` int64, of each true class the samples that were guessed right, and all.
        pairs: `(E, 3)` int64, true class, guessed class and samples; the most frequent ones.
    """

    per_class: Tensor
    pairs: Tensor

    @property
    def accuracy(self) -> float:
        """The share of all samples that were guessed right."""
        right, all_ = self.per_class.sum(dim=0).tolist()
        return right / all_ if all_ else 0.0


@dataclass
class ReportData:
    """What a run leaves for its report.

    Attributes:
        split: which the samples are of.
        total: samples that were evaluated, of which these are some.
        names: of the samples.
        labels: `(N,)` int64, -1 where a sample has none; or None.
        classes: the name of each label, or None.
        members: one each, or one in all.
        guesses: by the key of the protocol in the results, such as `knn` or `sound/knn`.
    """

    split: str
    total: int
    names: list[str]
    labels: Tensor | None
    classes: list[str] | None
    members: list[Shown]
    guesses: dict[str, Guesses] = field(default_factory=dict)


def shortened(name: str, most: int = 160) -> str:
    """Return a name with its middle left out where it is longer than `most` characters."""
    half = (most - 3) // 2
    return name if len(name) <= most else f"{name[:half]}...{name[-half:]}"
