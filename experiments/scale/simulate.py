"""One process of many, simulated: the real objective on fake tensors, in a process group that says it has 512 ranks.

What a process computes and sends is counted as torch is asked for it, so that the formulas of `plan` are checked by the
code that they describe. Nothing is computed or sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ssl_zoo.batch import Pairs, View
from ssl_zoo.distributed import collectives
from ssl_zoo.objectives.objective import Objective
from ssl_zoo.parts import Term


@dataclass
class Counted:
    """What a process did: FLOP, and for each kind of collective the bytes of what it gave, call by call."""

    flops: int = 0
    given: dict[str, list[int]] = field(default_factory=dict)


class _Sent(TorchDispatchMode):
    def __init__(self, given: dict[str, list[int]]) -> None:
        super().__init__()
        self.given = given

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._overloadpacket.__name__
        if func.namespace == "c10d":
            own = args[1] if name.startswith("allgather") else args[0]  # the output comes first
            size = sum(x.nbytes for x in tree_leaves(own) if isinstance(x, Tensor))
            self.given.setdefault(name.strip("_"), []).append(size)
        return func(*args, **(kwargs or {}))


@contextmanager
def processes(num: int) -> Iterator[None]:
    """A context in which this process is one of `num`, the others being nowhere."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=num // 2, world_size=num, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def count_term(term: Term, num: int, per_process: int, dim: int, num_views: int, split: bool) -> Counted:
    """Return what a process does for the forward and backward pass of a term over the views.

    Args:
        term: with `inputs = "set"`.
        num: processes.
        per_process: samples of each.
        dim: width of z.
        num_views: views of a sample.
        split: whether products over the batch are split, see `collectives.product`.
    """
    counted = Counted()
    limit = 0 if split else num * per_process + 1
    with processes(num), FakeTensorMode(), patch.object(collectives, "SPLIT_FROM", limit):
        z = [torch.randn(per_process, dim, requires_grad=True) for _ in range(num_views)]
        flops = FlopCounterMode(display=False)
        with _Sent(counted.given), flops:
            values = Objective([("term", 1.0, term)])(Pairs([], 1.0), z, [View(x) for x in z])
            values["term"].backward()
        counted.flops = flops.get_total_flops()
    return counted
