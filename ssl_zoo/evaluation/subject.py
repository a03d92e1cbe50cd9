"""The encoder itself with some samples, for protocols that encode on their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ssl_zoo.batch import View
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.evaluation.features import collect, on_device


@dataclass(frozen=True)
class Subject:
    """An encoder, and some samples of a split.

    Attributes:
        encoder: view -> h `(B, D)`; protocols leave it as it is.
        policy: the view policy.
        split: the samples are in.
        index: `(N,)` positions of the samples.
        device: where the encoder runs.
        half: whether it computes in bfloat16.
        modality: of the samples, where it is known.
        limit: largest number of samples of a split, for those of other data sets.
    """

    encoder: nn.Module
    policy: ViewPolicy
    split: Split
    index: Tensor
    device: torch.device | str = "cpu"
    half: bool = False
    modality: Modality | None = None
    limit: int | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def y(self) -> Tensor | None:
        """The labels `(N,)`, or None."""
        return None if self.split.labels is None else self.split.labels[self.index]

    @property
    def labels(self) -> Tensor:
        """The labels.

        Raises:
            ValueError: there are none.
        """
        if self.y is None:
            raise ValueError("these samples have no labels")
        return self.y

    @property
    def finite(self) -> Tensor:
        """True for each sample: nothing is computed yet."""
        return torch.ones(len(self), dtype=torch.bool)

    def take(self, index: Tensor) -> Subject:
        """Return the samples at `index`, in that order."""
        return replace(self, index=self.index[index])

    def to(self, device: torch.device | str) -> Subject:
        """Return the same on a device."""
        return replace(self, device=device)

    def collect(self, embed: Callable[[list[View]], Mapping[str, Tensor]]) -> tuple[dict[str, Tensor], Tensor | None]:
        """Apply a function to what the evaluation sees of the samples, with the encoder in eval mode.

        Args:
            embed: views of the same samples, on the device -> `{name: (B, ...)}`.

        Returns:
            `{name: (M, ...)}` in main memory and the labels, of the samples that can be read.
        """
        with on_device(self.encoder, self.device, self.half) as call:
            return collect(
                self.policy, self.split, lambda views: call(embed, views), index=self.index, device=self.device
            )
