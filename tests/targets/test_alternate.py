"""The target `alternate`: SimSiam where a block is one step, and the weights of the block's start where it is more."""

import copy

import pytest
import torch

from ssl_zoo.methods.build import build
from ssl_zoo.methods.method import Method
from tests.tiny import batch_of, narrow, tiny_encoder, tiny_views


def trained(target: str, steps: int = 5) -> tuple[Method, list[float]]:
    """Return a SimSiam with a target after some steps of SGD, and its losses."""
    method = build(narrow("simsiam", [f"target={target}"]), tiny_encoder()).double().train()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.5, momentum=0.9)
    losses = []
    for step in range(steps):
        views = [x + step for x in tiny_views()]
        loss = method(batch_of(*views)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step((step + 1) / steps)
        losses.append(loss.item())
    return method, losses


def test_blocks_of_one_step_are_simsiam() -> None:
    ours, losses = trained("alternate")
    simsiam, expected = trained("stop_gradient")
    assert losses == expected
    mine = ours.state_dict()
    assert all(torch.equal(mine[name], value) for name, value in simsiam.state_dict().items())


def test_eta_is_by_the_weights_of_the_blocks_start() -> None:
    _, expected = trained("stop_gradient")
    starts = [trained("{name: alternate, steps: 3}", steps)[0] for steps in (0, 3)]
    _, losses = trained("{name: alternate, steps: 3}")
    assert losses[0] == expected[0] and losses[1] != expected[1]
    for step, loss in enumerate(
        losses
    ):  # equation 7, written out: theta by `now`, eta by `start`, both on batch `step`
        now, start = trained("{name: alternate, steps: 3}", step)[0], starts[step // 3]
        views = batch_of(*[x + step for x in tiny_views()]).views
        theta = [now.projector(now.encoder(view.data)) for view in views]
        eta = [start.projector(start.encoder(view.data)).detach() for view in views]
        p = [now.predictor(x) for x in theta]
        cosines = [torch.cosine_similarity(p[i], eta[1 - i]).mean() for i in (0, 1)]
        assert loss == pytest.approx(-sum(x.item() for x in cosines) / 2, abs=1e-12)


def test_it_resumes_within_a_block() -> None:
    method, _ = trained("{name: alternate, steps: 3}", 4)
    copied = build(narrow("simsiam", ["target={name: alternate, steps: 3}"]), tiny_encoder(1)).double()
    copied.load_state_dict(copy.deepcopy(method.state_dict()))
    first = copy.deepcopy(method.target.network.state_dict())
    for _ in range(2):
        assert all(
            torch.equal(a, b) for a, b in zip(first.values(), copied.target.network.state_dict().values(), strict=True)
        )
        copied.target.after_step(0.5)
    online = [*copied.encoder.parameters(), *copied.projector.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(copied.target.network.parameters(), online, strict=True))
