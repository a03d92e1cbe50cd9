"""The contract of a view policy: what is drawn and cut where samples are read, and made into views on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.data.split import Sample, Samples


class ViewPolicy(nn.Module):
    """Makes the views of samples: the registered kind `views`. A subclass has the class attribute `modality`.

    `draw` and `collate` run in the loader, perhaps in a worker process; `forward` runs on the device.

    Attributes:
        modality: registered name of the modality.
        spec: shapes of the views.
        mild: options of its twin that augments mildly, for training with labels: what leaves of crops and flips only
            what keeps a sample's class. None where the policy is taken as it is.
        per_view: options that may be lists with a number for each view.
    """

    modality: str
    spec: InputSpec
    mild: Mapping[str, Any] = MappingProxyType({})
    per_view: tuple[str, ...] = ()

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Return everything random of the views of `num` samples; each tensor has leading dimension `num`."""
        raise NotImplementedError

    def cut(self, samples: Sequence[Sample], params: dict[str, Tensor]) -> Sequence[Any]:
        """Return what the views need of each sample; by default all of it.

        The loader calls it as soon as a few MiB of samples are read, so that a process does not hold a batch of large
        ones.

        Args:
            samples: some of a batch.
            params: what was drawn for them.
        """
        return samples

    def collate(self, samples: Samples | Sequence[Any], params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the payload for `forward`, which travels to the device.

        Args:
            samples: a tensor `(B, ...)`, a list of samples, or of what `cut` returned.
            params: what was drawn for them.
        """
        raise NotImplementedError

    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views, on the payload's device."""
        raise NotImplementedError

    def plain(self, samples: Samples) -> View:
        """Return samples without augmentation: what the evaluation sees."""
        raise NotImplementedError

    def looks(self, samples: Samples) -> list[View]:
        """Return what the evaluation sees of samples: its features are the mean of those of these views.

        By default the plain view alone. A policy of clips may return several clips of each sample; one of samples that
        are mappings returns the plain view of each member, and means are taken of each member.
        """
        return [self.plain(samples)]

    def steps(self) -> dict[str, Any]:
        """Return what `plain` does to a sample, as plain data for an encoder's card; by default nothing is stated.

        Of images `size`, `interpolation`, `divided_by`, `mean` and `std`.
        """
        return {}

    def plain_module(self) -> nn.Module | None:
        """Return a module that does to uint8 samples `(B, ...)` what `plain` does, for exported graphs; None for none.

        By default None.
        """
        return None

    def picture(self, samples: Samples, views: Sequence[View]) -> Tensor:
        """Return a picture `(3, H, W)`, uint8: a row per sample, first the plain one, then its views."""
        raise NotImplementedError

    def thumbnail(self, samples: Samples) -> Tensor:
        """Return a picture `(3, H, W)`, uint8, of one sample, which a report shows small; by default the plain one."""
        return self.picture(samples, [])
