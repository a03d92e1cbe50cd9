"""The benchmark `eval`: kNN against lightly's loop, and the linear sweep against one probe at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from ssl_zoo.bench.timing import Result, Side, alternate
from ssl_zoo.errors import needs
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.protocols.knn import classify
from ssl_zoo.evaluation.protocols.linear import train_classifiers
from ssl_zoo.rng import generator

CLASSES = 10
LRS = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
LIGHTLY_BATCH = 512


def features(num: int, dim: int, seed: int) -> Features:
    """Return overlapping clusters, one per class."""
    source = generator(seed, "bench")
    y = torch.randint(0, CLASSES, (num,), generator=source)
    centres = torch.randn(CLASSES, dim, generator=generator(0, "bench"))
    return Features(F.normalize(0.3 * centres[y] + torch.randn(num, dim, generator=source), dim=1), y)


def bench(against: Sequence[str], rounds: int, quick: bool = False) -> list[Result]:
    """Measure queries per second of kNN, and optimizer steps per second of a sweep of seven learning rates."""
    num, bank_size, dim, steps = (64, 300, 16, 2) if quick else (10_000, 50_000, 512, 50)
    bank, queries = (part.to(_device()) for part in (features(bank_size, dim, 1), features(num, dim, 2)))
    sides = [Side("ssl_zoo", lambda: _knn(bank, queries))]
    if "lightly" in against:
        needs("lightly", "lightly", "--against lightly")
        sides.append(Side("lightly", lambda: _knn_lightly(bank, queries)))
    sides.append(Side("the product alone", lambda: _product(bank, queries)))
    knn = alternate("kNN, k = 200", "queries/s", sides, rounds)
    knn.notes.append(f"{num} queries, {bank_size} features of width {dim}, {CLASSES} classes")
    sweep = [Side("all at once", lambda: _sweep([LRS], bank, steps)),
             Side("one by one", lambda: _sweep([(lr,) for lr in LRS], bank, steps)),
             Side("plain probes", lambda: _plain_probes(bank, steps))]  # fmt: skip
    linear = alternate("linear sweep, 7 learning rates", "steps/s of all", sweep, rounds, 0.0 if quick else 1.0)
    linear.notes.append(
        f"batches of 256 of {bank_size} features of width {dim}; the time of a run is linear in its steps"
    )
    return [knn, linear]


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _knn(bank: Features, queries: Features) -> int:
    return len(classify(queries.x, bank.x, bank.labels, 200, 0.1, CLASSES))


def _product(bank: Features, queries: Features) -> int:
    """The matrix product that every exact kNN needs."""
    turned = bank.x.T
    return sum(len(part @ turned) for part in queries.x.split(LIGHTLY_BATCH))


def _knn_lightly(bank: Features, queries: Features) -> int:
    from lightly.utils.benchmarking import knn_predict

    turned, count = bank.x.T.contiguous(), 0
    for start in range(0, len(queries), LIGHTLY_BATCH):
        part = queries.x[start : start + LIGHTLY_BATCH]
        count += len(knn_predict(part, turned, bank.labels, CLASSES, knn_k=200, knn_t=0.1))
    return count


def _sweep(sweeps: Sequence[Sequence[float]], data: Features, steps: int) -> int:
    for lrs in sweeps:
        train_classifiers(data, CLASSES, lrs, steps, 256, 0)
    return steps


def _plain_probes(data: Features, steps: int) -> int:
    """Train one probe after the other as most code does: a linear layer, AdamW, a DataLoader over the features."""
    for lr in LRS:
        probe = torch.nn.Linear(data.x.shape[1], CLASSES).to(data.x.device)
        optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=0)
        loader = DataLoader(TensorDataset(data.x, data.labels), 256, shuffle=True, generator=generator(0, "bench"))
        batches = iter(loader)
        for _ in range(steps):
            batch = next(batches, None)
            if batch is None:
                batches = iter(loader)
                batch = next(batches)
            loss = F.cross_entropy(probe(batch[0]), batch[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return steps
