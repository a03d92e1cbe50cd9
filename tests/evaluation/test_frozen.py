"""T43 for every registered protocol: what it measures is afterwards what it was, buffers and modes included."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo import registry
from ssl_zoo.batch import View
from ssl_zoo.data.source import Modality
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.contract import protocol_class
from ssl_zoo.evaluation.representations import evaluate_features
from ssl_zoo.evaluation.seen import EvaluationData
from tests.contract import ASKING, PROTOCOLS, Rows, Vectors, rows

SHORT: dict[str, dict[str, Any]] = {**PROTOCOLS, "fine_tune": {"steps": 3}, "attentive": {"epochs": 1}}
MEMBERS = ("image", "text")


class Everything(nn.Module):
    """An encoder with BatchNorm and Dropout that has all that protocols see: h, places, and members to compare."""

    out_dim = 6

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.2))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return self.body(x)

    def tokens(self, view: View) -> tuple[Tensor, tuple[int, ...]]:
        h = self(view.data)
        return torch.stack([h, -h, h.flip(1), h.roll(1, 1)], dim=1), (4,)

    def embedding(self, view: View) -> Tensor:
        return self(view.data)

    def align(self, view: View, towards: str) -> Tensor:
        return self(view.data)


class Pairs(Vectors):
    """Each sample as two members, which are alike."""

    spec = Vectors.spec.__class__(
        "both", Vectors.spec.views * 2, members=tuple((name, Vectors.spec) for name in MEMBERS)
    )

    def looks(self, samples: Any) -> list[View]:
        return [View(torch.stack(list(samples)), name) for name in MEMBERS]


class Reading(Modality):
    """Strings become vectors of letters."""

    reads_text = True


def seen_by(sees: type[Any], encoder: nn.Module) -> list[Any]:
    """Return what a protocol sees of train and test by the encoder."""
    x, y = rows(60), torch.arange(60) % 3
    policy = Pairs() if sees.__name__ == "Aligned" else Vectors()
    modality = Reading(policy.spec)
    modality.members = {name: Reading(Vectors.spec) for name in MEMBERS}  # type: ignore[attr-defined]
    data = EvaluationData(policy, modality, Rows(x, y), Rows(x[:30], y[:30]))
    found = [data.seen(encoder, sees, split, lambda line: None) for split in (data.train, data.test) if split]
    return [next(iter(each.values())) for each in found]


def test_every_protocol_leaves_every_tensor_and_mode_of_the_encoder_as_it_was() -> None:
    tested = []
    for name in registry.names("protocol"):
        encoder = Everything().train()
        encoder.body[2].eval()  # a part that its owner froze stays frozen
        before, modes = copy.deepcopy(encoder.state_dict()), [part.training for part in encoder.modules()]
        random = torch.get_rng_state()
        try:
            found = evaluate_features(*seen_by(protocol_class(name).sees, encoder), [(name, SHORT.get(name, {}))])
            assert found[name]
            tested.append(name)
        except UserError:
            assert name in (*ASKING, "zero_shot", "cka"), name  # these have their own tests
        after = encoder.state_dict()
        assert before.keys() == after.keys() and "body.1.running_mean" in before
        assert all(torch.equal(before[key], after[key]) for key in before), name
        assert [part.training for part in encoder.modules()] == modes, name
        assert all(weight.requires_grad and weight.grad is None for weight in encoder.parameters()), name
        assert torch.equal(torch.get_rng_state(), random), name
    assert len(tested) >= 13
