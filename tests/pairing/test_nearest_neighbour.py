"""The nearest-neighbour queue: which entry is taken, what is put in and when, and that nothing is lost on resume."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_zoo.objectives.similarity import negative_cosine
from ssl_zoo.pairing.nearest_neighbour import NearestNeighbour
from tests.tiny import paired


def embeddings(num: int = 2, batch: int = 5, dim: int = 4, seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, dim, generator=g) for _ in range(num)]


def test_an_empty_queue_gives_the_target_itself() -> None:
    p, t = embeddings(), embeddings(seed=1)
    pairs, scale = paired(NearestNeighbour(4, size=8), p, t)
    assert scale == 0.5 and pairs[0][0] is p[0] and pairs[1][0] is p[1]
    torch.testing.assert_close(pairs[0][1], F.normalize(t[1], dim=1))
    torch.testing.assert_close(pairs[1][1], F.normalize(t[0], dim=1))


def test_the_entry_with_the_largest_cosine_is_taken() -> None:
    pairing = NearestNeighbour(4, size=8)
    past = embeddings(seed=5)
    paired(pairing, past, past)
    pairing.after_step(0.1)
    p, t = embeddings(), embeddings(seed=1)
    (_, first), (_, second) = paired(pairing, p, t).pairs
    for neighbour, target in ((first, t[1]), (second, t[0])):
        cosines = F.cosine_similarity(target[:, None], past[0][None], dim=2)  # the first view's entries, and no others
        torch.testing.assert_close(neighbour, F.normalize(past[0][cosines.argmax(dim=1)], dim=1))


def test_the_loss_of_two_views_is_nnsiams() -> None:
    pairing = NearestNeighbour(4, size=8)
    past = embeddings(seed=5)
    paired(pairing, past, past)
    pairing.after_step(0.1)
    p, t = embeddings(), embeddings(seed=1)
    pairs, scale = paired(pairing, p, t)
    value = scale * sum(negative_cosine(x, y) for x, y in pairs)
    queue = F.normalize(past[0], dim=1)
    near = [queue[(F.normalize(x, dim=1) @ queue.T).argmax(dim=1)] for x in t]
    expected = sum(-(F.normalize(p[i], dim=1) * near[1 - i]).sum(dim=1).mean() for i in range(2)) / 2
    torch.testing.assert_close(value, expected)


def test_the_oldest_entries_make_room() -> None:
    pairing = NearestNeighbour(4, size=8)
    steps = [embeddings(1, batch=3, seed=s) for s in range(4)]
    for (x,) in steps:
        paired(pairing, [x, x], [x, x])
        pairing.after_step(0.0)
    kept = torch.cat([F.normalize(x, dim=1) for (x,) in steps])[-8:]  # 12 were seen, the first 4 have gone
    assert {tuple(row.tolist()) for row in pairing.queue} == {tuple(row.tolist()) for row in kept}
    assert int(pairing.seen) == 12


def test_more_at_once_than_it_holds() -> None:
    pairing = NearestNeighbour(4, size=2)
    (x,) = embeddings(1)
    paired(pairing, [x, x], [x, x])
    pairing.after_step(0.0)
    torch.testing.assert_close(pairing.queue, F.normalize(x[-2:], dim=1))


def test_the_queue_moves_once_a_step_and_not_in_evaluation() -> None:
    pairing = NearestNeighbour(4, size=20)
    p = embeddings()
    paired(pairing, p, p)
    paired(pairing, p, p)
    assert int(pairing.seen) == 0
    pairing.after_step(0.1)
    assert int(pairing.seen) == 10
    pairing.eval()
    paired(pairing, p, p)
    pairing.after_step(0.2)
    assert int(pairing.seen) == 10


def test_local_views_predict_and_are_no_target() -> None:
    p = embeddings(3)
    pairs, scale = paired(NearestNeighbour(4, size=8), p, [p[0], p[1], None])
    assert len(pairs) == 4 and scale == 0.25


def test_no_gradient_passes_a_neighbour_and_state_is_in_the_checkpoint() -> None:
    pairing, other = NearestNeighbour(4, size=8), NearestNeighbour(4, size=8)
    t = [x.requires_grad_() for x in embeddings()]
    assert all(not y.requires_grad for _, y in paired(pairing, t, t).pairs)
    pairing.after_step(0.1)
    other.load_state_dict(pairing.state_dict())
    assert torch.equal(other.neighbours(t[0]), pairing.neighbours(t[0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_neighbours_have_the_targets_type(dtype: torch.dtype) -> None:
    pairing = NearestNeighbour(4, size=8)
    t = [x.to(dtype) for x in embeddings()]
    paired(pairing, t, t)
    pairing.after_step(0.0)
    assert pairing.neighbours(1000 * t[0]).dtype == dtype and pairing.queue.dtype == torch.float32


@pytest.mark.parametrize(("size", "batch"), [(4, None), (7, None), (40, None), (40, 6), (7, 6), (40, 5), (7, 4)])
def test_without_reading_how_many_have_come_the_queue_is_the_same(size: int, batch: int | None) -> None:
    """Nor is it another where a step's batch is known, of 6 here; of more, the last ones are taken."""
    read, unread = NearestNeighbour(4, batch, size=size), NearestNeighbour(4, batch, size=size)
    assert len(read.arrived) == min(size, batch or size)
    whole, kept = NearestNeighbour(4, size=size), torch.empty(0, 4)
    for step in range(4):
        for part in range(2):  # of an accumulated batch
            (x,) = embeddings(1, batch=3, seed=2 * step + part)
            for pairing in (read, unread, whole):
                paired(pairing, [x, x], [x, x])
            kept = torch.cat([kept, F.normalize(x, dim=1)])
        kept = torch.cat([kept[:-6], kept[-6:][-len(read.arrived) :]])  # in the order in which they have joined
        read.after_step(0.0)
        unread._join(len(unread.arrived))  # as on a GPU
        whole.after_step(0.0)
        assert {tuple(row) for row in kept[-size:].tolist()} <= {tuple(row) for row in read.queue.tolist()}
        if batch in (None, 6):
            assert torch.equal(read.queue, whole.queue) and torch.equal(read.seen, whole.seen)
        assert torch.equal(read.queue, unread.queue) and torch.equal(read.seen, unread.seen)
