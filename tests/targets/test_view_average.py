"""The target `view_average`: an average of views, sample by sample, against a dictionary of numpy arrays."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_zoo.batch import Batch, View
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build
from ssl_zoo.targets.view_average import ViewAverage
from tests.tiny import narrow, tiny_encoder, tiny_views

STEPS = [[4, 0, 7], [2, 7, 4], [0, 1, 9], [7, 4, 2]]
"""The samples of each step."""


def views_of(samples: list[int], locals_: int = 0) -> list[View]:
    views = [View(torch.zeros(len(samples), 1)) for _ in range(2)]
    views += [View(torch.zeros(len(samples), 1), role="local", is_target=False) for _ in range(locals_)]
    return list(Batch(views, torch.tensor(samples)).views)


def embeddings(step: int, num: int = 2) -> list[Tensor]:
    g = torch.Generator().manual_seed(step)
    return [torch.randn(3, 5, generator=g, dtype=torch.float64) for _ in range(num)]


def test_each_sample_has_its_own_average() -> None:
    target, eta = ViewAverage(momentum=0.8).double(), dict[int, np.ndarray]()
    for step, samples in enumerate(STEPS):
        z = embeddings(step)
        t = target(views_of(samples), z)
        for row, sample in enumerate(samples):
            own = [x[row].numpy() for x in z]
            for found, x in zip(t, own, strict=True):
                expected = 0.8 * eta[sample] + 0.2 * x if sample in eta else x
                np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-12)
            mean = (own[0] + own[1]) / 2
            eta[sample] = 0.8 * eta[sample] + 0.2 * mean if sample in eta else mean
        target.after_step(0.5)
    assert target.known.nonzero()[:, 0].tolist() == sorted(eta) and target.mean.shape == (10, 5)


def test_without_memory_it_is_stop_gradient_and_local_views_are_no_target() -> None:
    target = ViewAverage(momentum=0.0).double()
    for step in range(2):
        z = [x.requires_grad_() for x in embeddings(step, 3)]
        t = target(views_of([3, 1, 2], locals_=1), z)
        assert torch.equal(t[0], z[0]) and torch.equal(t[1], z[1]) and t[2] is None and not t[0].requires_grad
        target.after_step(0.5)


def test_accumulated_batches_move_it_once_and_a_sample_that_comes_twice_counts_once() -> None:
    parts, whole = ViewAverage().double(), ViewAverage().double()
    for target in (parts, whole):
        target(views_of([0, 1, 2]), embeddings(0))
        target.after_step(0.1)
    first, second = embeddings(1), embeddings(2)
    parts(views_of([0, 1, 2]), first)
    parts(views_of([2, 1, 0]), second)
    parts.after_step(0.5)
    whole(views_of([0, 1, 2]), [(a + b.flip(0)) / 2 for a, b in zip(first, second, strict=True)])
    whole.after_step(0.5)
    torch.testing.assert_close(parts.mean, whole.mean)
    before = parts.mean.clone()
    parts.after_step(1.0)
    parts.eval()(views_of([0, 1, 2]), first)
    parts.after_step(1.0)
    assert torch.equal(parts.mean, before)


def test_it_resumes_exactly_whatever_its_size() -> None:
    target = ViewAverage().double()
    for step, samples in enumerate(STEPS[:2]):
        target(views_of(samples), embeddings(step))
        target.after_step(0.5)
    again = ViewAverage().double()
    again.load_state_dict(copy.deepcopy(target.state_dict()))
    for step in (2, 3):
        a, b = (each(views_of(STEPS[step]), embeddings(step)) for each in (target, again))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        target.after_step(1.0)
        again.after_step(1.0)
    assert torch.equal(target.mean, again.mean)


def test_it_says_that_it_needs_the_samples_positions() -> None:
    with pytest.raises(UserError, match=r"Batch\(views, index\)"):
        ViewAverage()([View(torch.zeros(3, 1))], embeddings(0, 1))


def test_a_recipe_with_it_is_built_and_takes_steps() -> None:
    method = build(narrow("simsiam", ["target=view_average", "predictor=identity"]), tiny_encoder()).double().train()
    for _ in range(2):
        loss = method(Batch([View(x) for x in tiny_views()], torch.arange(8) + 3)).loss
        loss.backward()
        method.after_step(0.5)
    assert loss.isfinite() and method.target.mean.shape == (11, 8)
