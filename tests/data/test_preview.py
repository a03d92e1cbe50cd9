"""The picture of samples and views: rows of any size, samples that cannot be shown, and their media."""

import pytest
import torch

from ssl_zoo.batch import View
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.preview import picture_of_views, preview
from ssl_zoo.data.source import Media, Modality, Split, ViewPolicy
from ssl_zoo.errors import UserError
from tests.tiny import spec_of


class Numbers(Split):
    """The numbers from 0."""

    def __init__(self, num):
        self.num = num

    def __len__(self):
        return self.num

    def read(self, i):
        if i % 5 == 0:
            raise BadSample(f"number {i}", "it cannot be read")
        return i


class Rows(ViewPolicy):
    """A row of a height and a width that are the number; numbers above 7 are decoded late, and not well."""

    modality, spec = "number", spec_of(modality="number")

    def draw(self, generator, num):
        return {"shade": torch.randint(0, 200, (num,), generator=generator)}

    def collate(self, samples, params):
        if samples[0] > 7:
            raise BadSample(f"number {samples[0]}", "its end is missing")
        return {"number": torch.tensor(samples), **params}

    def forward(self, payload):
        return [View(payload["shade"])]

    def picture(self, samples, views):
        return torch.full((3, samples[0], samples[0]), int(views[0].tensor[0]), dtype=torch.uint8)


class Spoken(Modality):
    """Numbers as texts."""

    def media(self, sample):
        return [Media("text/plain", str(sample).encode())]


def test_rows_are_filled_up_with_white_and_know_their_sample() -> None:
    shown = preview(Numbers(12), Rows(), seed=0, samples=8, modality=Spoken(Rows.spec))
    numbers = [int(media[0].data) for media in shown.media]
    assert sorted(numbers) == [1, 2, 3, 4, 6, 7]  # 0, 5 and 10 cannot be read, the others not be decoded
    assert [bottom - top for top, bottom in shown.rows] == numbers and shown.picture.shape == (3, 23, 7)
    for (top, bottom), number in zip(shown.rows, numbers, strict=True):
        assert (shown.picture[:, top:bottom, number:] == 255).all() and shown.picture[:, top, 0].max() < 200
    assert torch.equal(picture_of_views(Numbers(12), Rows(), seed=0), shown.picture)
    assert preview(Numbers(12), Rows(), seed=0, samples=2).media == [[], []]


def test_without_a_sample_that_can_be_shown_it_is_the_users_error() -> None:
    with pytest.raises(UserError, match="none of the 1 samples can be read"):
        preview(Numbers(1), Rows(), seed=0)
