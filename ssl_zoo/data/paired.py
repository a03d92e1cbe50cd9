"""Samples that are mappings of named members, such as an image and its caption: their view policy and their modality.

Each member has a view policy and a modality of its own; here they are put side by side. A member's views carry its name
in place of the modality's, so that encoders and heads can tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Media, Modality, Sample, Samples, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.rng import generator as named_generator


class PairedViews(ViewPolicy):
    """The view policies of the members, side by side. A sample is a mapping {member: sample}.

    Args:
        policies: {member: its policy}.

    Attributes:
        members: the same.
    """

    def __init__(self, policies: Mapping[str, ViewPolicy]) -> None:
        super().__init__()
        self.members = nn.ModuleDict(dict(policies))
        members = tuple((member, policy.spec) for member, policy in policies.items())
        self.modality = " + ".join(policies)
        self.spec = InputSpec(self.modality, tuple(view for _, of in members for view in of.views), members=members)

    def each(self) -> Iterator[tuple[str, ViewPolicy]]:
        """Yield (member, policy)."""
        for member, policy in self.members.items():
            assert isinstance(policy, ViewPolicy)
            yield member, policy

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Return what is random in the views; each member draws from its own stream, so that none moves another's."""
        start = int(torch.randint(2**62, (), generator=generator))
        drawn = {member: policy.draw(named_generator(start, member), num) for member, policy in self.each()}
        return _joined(drawn)

    def cut(self, samples: Sequence[Sample], params: dict[str, Tensor]) -> Sequence[Any]:
        """Return what the views need of each sample, {member: cut}."""
        cuts = {
            member: policy.cut([sample[member] for sample in samples], _of(member, params))
            for member, policy in self.each()
        }
        return [dict(zip(cuts, parts, strict=True)) for parts in zip(*cuts.values(), strict=True)]

    def collate(self, samples: Samples | Sequence[Any], params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the payloads of the members, with the member in each name."""
        return _joined(
            {
                member: policy.collate([sample[member] for sample in samples], _of(member, params))
                for member, policy in self.each()
            }
        )

    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views of all members, in their order."""
        made = [(member, policy(_of(member, payload))) for member, policy in self.each()]
        return [replace(view, modality=member) for member, views in made for view in views]

    def plain(self, samples: Samples) -> View:
        """Refuse: samples of several members have no one plain view.

        Raises:
            UserError: always; `looks` returns one for each member.
        """
        raise UserError(f"samples of {self.modality} have a plain view for each member, not one for all.")

    def looks(self, samples: Samples) -> list[View]:
        """Return what the evaluation sees of each member, in their order."""
        return [
            replace(view, modality=member)
            for member, policy in self.each()
            for view in policy.looks([sample[member] for sample in samples])
        ]

    def picture(self, samples: Samples, views: Sequence[View]) -> Tensor:
        """Return a picture `(3, H, W)`, uint8: a row per sample, in it the members' pictures from left to right."""
        rows = []
        for i, sample in enumerate(samples):
            parts = [
                policy.picture([sample[member]], [_row(view, i) for view in views if view.modality == member])
                for member, policy in self.each()
            ]
            height = max(part.shape[1] for part in parts)
            rows.append(torch.cat([_padded(part, height, part.shape[2]) for part in parts], dim=2))
        width = max(row.shape[2] for row in rows)
        return torch.cat([_padded(row, row.shape[1], width) for row in rows], dim=1)


def _row(view: View, i: int) -> View:
    return view.map(lambda x: x[i : i + 1])


def _padded(picture: Tensor, height: int, width: int) -> Tensor:
    return pad(picture, (0, width - picture.shape[2], 0, height - picture.shape[1]), value=255)


def _joined(each: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{member}.{name}": value for member, values in each.items() for name, value in values.items()}


def _of(member: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = member + "."
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


class PairedModality(Modality):
    """The modalities of the members, side by side. Samples `{member: sample}` come from a source of pairs.

    Args:
        spec: of the views.
        members: {member: its modality}.
    """

    any_size = True

    def __init__(self, spec: InputSpec, members: Mapping[str, Modality]) -> None:
        super().__init__(spec)
        self.members = dict(members)
        self.axes = ", ".join(f"{member}: {of.axes}" for member, of in members.items() if of.axes)

    def decode(self, data: bytes | BinaryIO, name: str) -> Sample:
        """Refuse: each member's modality decodes its own part.

        Raises:
            BadSample: always.
        """
        raise BadSample(name, f"one file holds no sample of {self.spec.modality}; use a source of pairs")

    def kept(self, sample: Sample) -> Sample:
        """Return a sample as it is kept in memory: each part as its modality keeps it."""
        return {member: of.kept(sample[member]) for member, of in self.members.items()}

    def nbytes(self, sample: Sample) -> int:
        """Return the size of a kept sample in memory, in bytes."""
        return sum(of.nbytes(sample[member]) for member, of in self.members.items())

    def values(self, sample: Sample) -> Tensor | None:
        """Return None: there are no statistics of members together."""
        return None

    def media(self, sample: Sample) -> list[Media]:
        """Return what a page shows of each member."""
        return [media for member, of in self.members.items() for media in of.media(sample[member])]

    def describe(self, sample: Sample) -> str:
        """Return the size of each member's part, such as `image 32x32, audio 8000`."""
        return ", ".join(f"{member} {of.describe(sample[member])}" for member, of in self.members.items())

    def raw(self, view: View, max_dim: int = 4096) -> Tensor:
        """Return plain samples of a member as features `(B, D)`; see `Modality.raw`."""
        return self.members[view.modality].raw(view, max_dim)
