"""The way of a batch to a device: one block of memory, from which the same tensors come."""

import torch

from ssl_zoo.data import RawBatch
from ssl_zoo.data.transfer import ALIGNMENT


def test_a_packed_batch_is_the_same_batch_in_one_block() -> None:
    g = torch.Generator().manual_seed(0)
    payload = {
        "image": torch.randint(0, 256, (5, 3, 7, 7), dtype=torch.uint8, generator=g),
        "turned": torch.rand(2, 5, 4, generator=g).transpose(0, 1),  # keeps its layout
        "gaps": torch.rand(5, 9, generator=g)[:, ::2],
        "alike": torch.rand(1, 3, generator=g).expand(5, 3),
        "flag": torch.rand(5, 2, generator=g) < 0.5,
        "none": torch.empty(5, 0),
        "number": torch.tensor(2.5, dtype=torch.float64),
    }
    raw = RawBatch(payload, torch.arange(5), [("a", "broken")], drawn={"flag": torch.arange(3)})
    packed = raw.packed(pin=False)
    moved = packed.moved(torch.clone)
    assert packed.block is not None and moved.block is not None
    size = sum(-(-x.nbytes // ALIGNMENT) * ALIGNMENT for x in [*payload.values(), raw.index, raw.drawn["flag"]])
    assert packed.block.nbytes <= size
    for made in (packed, moved, raw.moved(torch.clone)):
        assert list(made.payload) == list(payload) and torch.equal(made.index, raw.index) and made.bad == raw.bad
        assert made.drawn["flag"].tolist() == [0, 1, 2]
        for name, x in payload.items():
            assert torch.equal(made.payload[name], x) and made.payload[name].dtype == x.dtype, name
    whole = moved.block.untyped_storage().data_ptr()
    inside = [*moved.payload.values(), *moved.drawn.values(), moved.index]
    assert {x.untyped_storage().data_ptr() for x in inside} == {whole}
    assert moved.payload["turned"].transpose(0, 1).is_contiguous()
    turned = {**payload, "turned": payload["turned"] + 1}
    again = RawBatch(turned, torch.arange(5) + 1, [], drawn={"flag": torch.ones(3, dtype=torch.int64)}).packed(
        pin=False
    )
    assert again.layout == moved.layout != raw.layout
    moved.take(again)
    assert torch.equal(moved.payload["turned"], again.payload["turned"]) and torch.equal(moved.index, again.index)
    assert moved.drawn["flag"].tolist() == [1, 1, 1]
    assert torch.equal(packed.payload["turned"], payload["turned"])
