"""Augmented views for the evaluation: the same ones for every encoder, whatever is read in which way."""

import pytest
import torch
from torch import nn

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data.bad_samples import BadSample, Budget
from ssl_zoo.data.source import Modality, Split, ViewPolicy
from ssl_zoo.evaluation.augmented import AugmentedViews
from ssl_zoo.evaluation.contract import NotOffered
from ssl_zoo.evaluation.representations import compare_representations
from ssl_zoo.evaluation.seen import EvaluationData
from ssl_zoo.rng import generator

SMALL = ViewSpec("local", (3,), is_target=False)


class Jitter(ViewPolicy):
    """`wide` views with noise, and a small one that shows the first half."""

    modality = "vector"

    def __init__(self, wide: int = 2) -> None:
        super().__init__()
        self.wide = wide
        self.spec = InputSpec("vector", (ViewSpec("global", (6,)),) * wide + (SMALL,))

    def draw(self, generator, num):
        return {"noise": torch.randn(num, self.wide, 6, generator=generator)}

    def collate(self, samples, params):
        return {"x": torch.stack(list(samples)), **params}

    def forward(self, payload):
        x = payload["x"][:, None] + payload["noise"]
        small = View(payload["x"][:, :3], "vector", "local", is_target=False)
        return [small, *(View(x[:, i], "vector") for i in range(self.wide))]

    def plain(self, samples):
        return View(torch.stack(list(samples)), "vector")


class Rows(Split):
    """Vectors, of which some cannot be read."""

    def __init__(self, num, stacked=False, bad=()):
        self.x = torch.randn(num, 6, generator=torch.Generator().manual_seed(0))
        self.stacked, self.unreadable = stacked, bad

    def __len__(self):
        return len(self.x)

    def read(self, i):
        if i in self.unreadable:
            raise BadSample(f"row {i}", "torn")
        return self.x[i]

    def read_batch(self, index):
        return self.x[index] if self.stacked else super().read_batch(index)

    def budget(self):
        return Budget(len(self.x), "skip", 1.0) if self.unreadable else None


def views_of(split, policy=None, encoder=None):
    policy = policy or Jitter()
    return AugmentedViews(encoder, policy, Modality(policy.spec), split, torch.arange(len(split)), "vector")


def test_the_first_target_views_of_a_draw_are_taken_and_more_draws_where_they_are_too_few():
    split = Rows(9)
    two, five = (views_of(split).features(9, num) for num in (2, 5))
    assert two.shape == (9, 2, 6) and five.shape == (9, 5, 6) and torch.equal(five[:, :2], two)
    noise = five - split.x[:, None]
    assert len(noise[0].unique()) == 30  # no view twice, and none is the plain sample
    one = Jitter(wide=1)
    drawn = [one.draw(generator(0, "evaluation_views", number), 9)["noise"][:, 0] for number in range(3)]
    assert torch.equal(views_of(split, one).features(9, 3), split.x[:, None] + torch.stack(drawn, dim=1))


def test_views_do_not_depend_on_how_samples_are_read_nor_on_the_global_generator():
    listed = views_of(Rows(9)).features(5, 2)
    torch.manual_seed(7)
    assert listed.shape[0] == 5 and torch.equal(views_of(Rows(9, stacked=True)).features(5, 2), listed)


def test_a_sample_that_cannot_be_read_moves_no_other():
    whole, torn = (views_of(Rows(9, bad=bad)).features(9, 2) for bad in ((), (3,)))
    assert torch.equal(torn, whole[[0, 1, 2, 4, 5, 6, 7, 8]])


def test_features_that_are_not_finite_are_refused():
    class Broken(nn.Module):
        out_dim = 6

        def forward(self, x):
            return x / 0

    with pytest.raises(NotOffered, match="views of 9 of 9 samples are not finite"):
        views_of(Rows(9), encoder=Broken()).features(9, 2)


def test_encoder_untrained_and_raw_see_the_same_views():
    policy = Jitter()
    data = EvaluationData(policy, Modality(policy.spec), Rows(9), Rows(40))
    results = compare_representations(nn.Identity(), nn.Identity(), data, [("view_retrieval", {})])
    assert results["encoder"] == results["untrained"] == results["raw"]
    assert results["raw"]["view_retrieval"]["num"] == 40
