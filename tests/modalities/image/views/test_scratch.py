"""Memory that is used again: never while somebody has it."""

import gc

import torch

from ssl_zoo.modalities.image.views.scratch import Desk, Lender

CPU = torch.device("cpu")


def test_lent_memory_comes_back_when_no_tensor_uses_it():
    lender = Lender()
    first = lender.lend(3, 4, device=CPU)
    place = first.data_ptr()
    assert first.shape == (3, 4) and first.dtype == torch.float32 and place % 64 == 0
    part = first[1].detach()  # a view of it, and what is saved for a backward pass, hold it
    weight = torch.ones(4, requires_grad=True)
    product = (part * weight).sum()
    del first, part
    gc.collect()
    other = lender.lend(12, device=CPU)
    assert other.data_ptr() != place
    product.backward()
    del product
    weight.grad = None
    gc.collect()
    assert lender.lend(2, 6, device=CPU).data_ptr() == place


def test_what_is_lent_is_never_lent_twice():
    lender = Lender(most=2)
    held = [lender.lend(5, device=CPU).fill_(i) for i in range(6)]
    assert [float(x[0]) for x in held] == [0, 1, 2, 3, 4, 5]
    del held
    gc.collect()
    assert len(lender._free) == 2  # no more are kept than asked for


def test_a_desks_buffers_grow_and_are_each_threads_own():
    from threading import Thread

    desk, places = Desk(), []
    one = desk.take("a", 2, 3)
    assert desk.take("a", 6).data_ptr() == one.data_ptr() != desk.take("b", 6).data_ptr()
    assert desk.take("a", 100).shape == (100,)
    thread = Thread(target=lambda: places.append(desk.take("a", 2).data_ptr()))
    thread.start()
    thread.join()
    assert places[0] != desk.take("a", 2).data_ptr()
