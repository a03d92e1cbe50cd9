"""The classifier on augmented views: its arithmetic by hand, its choice on train alone, views of its own."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.protocols.linear_augmented import LinearAugmented, Scale, plain
from ssl_zoo.evaluation.subject import Subject
from tests.contract import Rows, Vectors


def made(**options: Any) -> LinearAugmented:
    """The protocol as a recipe makes it."""
    return registry.build("protocol", "linear_augmented", options)


class Still(Vectors):
    """Vectors whose views are the samples themselves."""

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        return {"noise": torch.zeros(num, 6)}


def subject(num: int, seed: int, policy: Vectors | None = None, classes: int = 3) -> Subject:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(num) % classes
    x = torch.randn(num, 6, generator=generator) + 2 * nn.functional.one_hot(y, 6)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    return Subject(encoder, policy or Vectors(), Rows(x, y), torch.arange(num))


def test_it_is_momentum_sgd_on_the_cross_entropy_with_a_cosine() -> None:
    train = subject(24, 0, Still())
    steps, lr, momentum, decay = 4, 2.0, 0.9, 0.01
    protocol = made(
        optimizer={"name": "sgd", "momentum": momentum, "weight_decay": decay}, lrs=[lr], epochs=steps, batch_size=24
    )
    x, y = plain(train)
    weight, bias = protocol.train(train, y, 3, Scale(x), [lr])[0]
    z = x.double().numpy()
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    w, b, v, u = np.zeros((5, 3)), np.zeros(3), np.zeros((5, 3)), np.zeros(3)
    for step in range(steps):
        scores = np.exp(z @ w + b)
        error = (scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[y]) / 24
        rate = lr * 24 / 256 * 0.5 * (1 + np.cos(np.pi * step / steps))
        v, u = momentum * v + z.T @ error + decay * w, momentum * u + error.sum(axis=0)
        w, b = w - rate * v, b - rate * u
    np.testing.assert_allclose(weight.numpy(), w, atol=1e-5)
    np.testing.assert_allclose(bias.numpy(), b, atol=1e-5)


def test_it_is_a_function_of_its_seed_and_chooses_on_train_alone() -> None:
    train, test = subject(90, 0), subject(60, 1)
    protocol = made(lrs=[0.5, 1.0], epochs=3, batch_size=32)
    first = protocol(train, test)
    torch.rand(3)
    assert protocol(train, test) == first and first["top1"] > 0.8
    shifted = Subject(test.encoder, test.policy, Rows(test.split.x, (test.labels + 1) % 3), test.index)
    assert protocol(train, shifted)["top1"] < 0.2


def test_the_rate_is_the_one_that_is_best_on_held_out_train_samples() -> None:
    """A step or two find the direction between the means, which noise hides; only a high rate finds the other one."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 2
    x = torch.zeros(120, 6)
    x[:, :2] = 3 * torch.randn(120, 1, generator=generator) + 0.1 * torch.randn(120, 2, generator=generator)
    x[:, 0] += y
    train = Subject(nn.Identity(), Still(), Rows(x, y), torch.arange(120))
    assert made(lrs=[1e-6, 30.0], epochs=20, batch_size=32).choose_lr(train, y, 2) == 30.0
    assert made(lrs=[7.0]).choose_lr(train, y, 2) == 7.0


def test_lars_trains_too_and_other_seeds_see_other_views() -> None:
    train, test = subject(90, 0), subject(60, 1)
    lars = made(optimizer="lars", lrs=[1.0], epochs=3, batch_size=32)
    assert lars(train, test)["top1"] > 0.8
    x, _ = plain(train)
    one, other = (
        made(epochs=1, batch_size=90, seed=seed).train(train, train.labels, 3, Scale(x), [0.1])[0][0] for seed in (0, 1)
    )
    assert not torch.equal(one, other)


def test_views_of_another_modality_are_refused() -> None:
    with pytest.raises(UserError, match="makes views of image, and the samples are of vector"):
        made(views={"name": "augment", "size": 8})(subject(9, 0), subject(9, 1))
