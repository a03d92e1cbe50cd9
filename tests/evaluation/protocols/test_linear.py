"""The linear probe finds what logistic regression finds, and test labels have no part in its choices."""

import pytest
import torch

from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.protocols import linear
from ssl_zoo.evaluation.protocols.linear import Linear, train_classifiers
from ssl_zoo.optim.schedules import half_cosine


def standardised(train, test):
    mean, std = train.x.mean(dim=0), train.x.std(dim=0).clamp_min(1e-6)
    return Features((train.x - mean) / std, train.y), Features((test.x - mean) / std, test.y)


def test_accuracy_is_that_of_logistic_regression(digits):
    from sklearn.linear_model import LogisticRegression

    train, test = standardised(*digits)
    oracle = LogisticRegression(C=0.1, max_iter=2000).fit(train.x.numpy(), train.y.numpy())
    score = oracle.score(test.x.numpy(), test.y.numpy())
    assert Linear()(*digits)["top1"] == pytest.approx(score, abs=0.015)


def test_scale_and_shift_of_features_do_not_matter(digits):
    train, test = digits
    moved = [Features(part.x * 1000 + 5, part.y) for part in (train, test)]
    assert Linear(epochs=10)(*moved)["top1"] == pytest.approx(Linear(epochs=10)(train, test)["top1"], abs=0.005)


def test_classifiers_trained_together_are_those_trained_alone(digits):
    train, _ = standardised(*digits)
    together = train_classifiers(train, 10, [1e-3, 1e-2], steps=20, batch_size=64, seed=0)
    alone = train_classifiers(train, 10, [1e-2], steps=20, batch_size=64, seed=0)
    torch.testing.assert_close(together[1], alone[0], atol=1e-5, rtol=1e-4)


def test_weight_decay_is_that_of_torch_and_is_chosen_with_the_rate(digits):
    train, _ = standardised(*digits)
    generator = torch.Generator().manual_seed(0)
    part = Features(torch.randn(60, 8, generator=generator), torch.randint(10, (60,), generator=generator))
    ours = train_classifiers(part, 10, [1e-2, 1e-2], steps=5, batch_size=60, seed=0, weight_decays=[0.0, 0.5])
    weight, bias = torch.zeros(8, 10, requires_grad=True), torch.zeros(10, requires_grad=True)
    groups = [{"params": [weight], "weight_decay": 0.5}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    for step in range(5):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * half_cosine(step / 5)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(part.x @ weight + bias, part.labels).backward()
        optimizer.step()
    torch.testing.assert_close(ours[1], torch.cat([weight, bias[None]]).detach(), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours[0], ours[1])
    assert Linear(lrs=[1e-2], weight_decays=[0.0, 1e4], epochs=3).choose(train, 10) == (1e-2, 0.0)


def test_same_seed_same_number(digits):
    assert Linear(epochs=5, seed=3)(*digits) == Linear(epochs=5, seed=3)(*digits)


def test_test_labels_have_no_part_in_any_choice(digits, monkeypatch):
    train, test = digits
    seen = []
    predict = linear.predict

    def spy(weights, x):
        guesses = predict(weights, x)
        seen.append((len(weights), guesses))
        return guesses

    monkeypatch.setattr(linear, "predict", spy)
    permuted = Features(test.x, test.y[torch.randperm(len(test), generator=torch.Generator().manual_seed(0))])
    probe, runs = Linear(epochs=10), []
    for data in (test, permuted):
        seen.clear()
        top1 = probe(train, data)["top1"]
        runs.append(list(seen))
        final = seen[-1][1][0]
        assert top1 == pytest.approx((final == data.y).float().mean().item())
    assert [n for n, _ in runs[0]] == [len(probe.grid), 1], "the sweep on held-out train samples, then one test"
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first[1], second[1])


def test_the_best_rate_on_held_out_samples_is_chosen(digits):
    train, _ = standardised(*digits)
    assert Linear(lrs=[1e-9, 1e-2], epochs=10).choose(train, 10) == (1e-2, 0.0)
    assert Linear(lrs=[0.5], epochs=10).choose(train, 10) == (0.5, 0.0)


def test_constant_features_give_chance_not_nan():
    data = Features(torch.full((40, 3), 7.0), torch.arange(40) % 2)
    assert Linear(epochs=2)(data, data)["top1"] == 0.5
