"""Fine-tuning: it learns what a linear probe cannot, trains copies only, and is a function of its seed."""

import copy
import math

import pytest
import torch
from torch import nn

from ssl_zoo.data.source import Modality
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import extract
from ssl_zoo.evaluation.protocols.fine_tune import FineTune
from ssl_zoo.evaluation.protocols.linear import Linear
from ssl_zoo.evaluation.representations import compare_representations
from ssl_zoo.evaluation.seen import EvaluationData
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.rng import derive
from tests.contract import Rows, Vectors

OPTIONS = {"steps": 60, "lrs": [0.1], "batch_size": 64}


class Narrow(nn.Sequential):
    """One feature of six: what it is blind for at first, no probe finds."""

    out_dim = 1

    def __init__(self) -> None:
        first = nn.Linear(6, 1, bias=False)
        nn.init.zeros_(first.weight)
        first.weight.data[0, 5] = 1.0
        super().__init__(first, nn.BatchNorm1d(1))


def rows(num: int, seed: int) -> Rows:
    x = torch.randn(num, 6, generator=torch.Generator().manual_seed(seed))
    y = torch.arange(num) % 2
    x[:, 0] += 8.0 * y
    return Rows(x, y)


def data() -> EvaluationData:
    torch.manual_seed(0)
    return EvaluationData(Vectors(), Modality(Vectors.spec), rows(200, 0), rows(100, 1))


def test_it_learns_what_the_encoder_was_blind_for_and_leaves_it_as_it_was() -> None:
    samples, encoder, untrained = data(), Narrow(), Narrow()
    before, state = copy.deepcopy(encoder.state_dict()), torch.get_rng_state()
    found = compare_representations(encoder, untrained, samples, [("fine_tune", OPTIONS)])
    assert found["encoder"]["fine_tune"]["top1"] > 0.95 and found["raw"] == {}
    state_after = torch.get_rng_state()
    features = [extract(encoder, Vectors(), split, device="cpu") for split in (samples.train, samples.test)]
    assert Linear(epochs=5)(*features)["top1"] < 0.7
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert encoder.training and torch.equal(state_after, state)


def test_it_is_a_function_of_its_seed_and_chooses_on_train_alone() -> None:
    samples, encoder = data(), Narrow()
    train, test = (Subject(encoder, Vectors(), each, torch.arange(len(each))) for each in (samples.train, samples.test))
    protocol = FineTune(steps=30, lrs=[1e-6, 0.1], batch_size=64)
    first = protocol(train, test)
    torch.rand(3)
    assert protocol(train, test) == first
    flipped = Rows(samples.test.x, 1 - samples.test.labels)
    wrong = protocol(train, Subject(encoder, Vectors(), flipped, torch.arange(100)))
    assert wrong["top1"] == pytest.approx(1 - first["top1"])
    assert protocol.choose_lr(train, train.labels, torch.arange(2)) == 0.1


class Still(Vectors):
    """Vectors whose views are the samples themselves."""

    def draw(self, generator: torch.Generator, num: int) -> dict[str, torch.Tensor]:
        return {"noise": torch.zeros(num, 6)}


def test_it_is_adamw_on_the_cross_entropy_of_all_weights_with_a_cosine() -> None:
    """Plain torch, on batches of all samples, from the same first weights of the classifier."""
    samples, encoder, steps, lr = rows(40, 0), Narrow(), 6, 0.05
    train = Subject(encoder, Still(), samples, torch.arange(40))
    ours = FineTune(steps=steps, batch_size=40, weight_decay=0.1).train(train, samples.labels, 2, lr)
    theirs = copy.deepcopy(encoder).train()
    torch.manual_seed(derive(0, "fine_tune", 0))
    head = nn.Linear(1, 2)
    optimizer = torch.optim.AdamW([*theirs.parameters(), *head.parameters()], lr=lr, weight_decay=0.1)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        scores = head(theirs(samples.x)).log_softmax(dim=1)
        (-scores[torch.arange(40), samples.labels].mean()).backward()
        optimizer.step()
    for one, other in zip([*theirs.parameters(), *head.parameters()], ours.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert not torch.equal(theirs[0].weight, encoder[0].weight)


def test_a_batch_that_is_larger_than_the_data_takes_all_of_it() -> None:
    train = Subject(Narrow(), Vectors(), rows(10, 0), torch.arange(10))
    assert FineTune(steps=3, batch_size=64)(train, train)["top1"] >= 0


def test_samples_of_several_modalities_are_refused() -> None:
    policy = Vectors()
    policy.spec = policy.spec.__class__("both", policy.spec.views, members=(("one", policy.spec), ("two", policy.spec)))
    subject = Subject(Narrow(), policy, rows(10, 0), torch.arange(10))
    with pytest.raises(UserError, match="samples of one modality"):
        FineTune()(subject, subject)
