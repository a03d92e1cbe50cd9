"""Memory that is used again: never while something uses it."""

import gc
from threading import Thread

import torch

from ssl_zoo.modalities.image.views.scratch import BufferPool

CPU = torch.device("cpu")


def test_a_buffer_returns_when_no_tensor_uses_it():
    pool = BufferPool()
    first = pool.borrow(3, 4, device=CPU)
    place = first.data_ptr()
    assert first.shape == (3, 4) and first.dtype == torch.float32 and place % 64 == 0
    part = first[1].detach()  # a view of it, and what is saved for a backward pass, hold it
    weight = torch.ones(4, requires_grad=True)
    product = (part * weight).sum()
    del first, part
    gc.collect()
    other = pool.borrow(12, device=CPU)
    assert other.data_ptr() != place and len(pool) == 0
    product.backward()
    del product
    weight.grad = None
    gc.collect()
    assert len(pool) == 1
    assert pool.borrow(2, 6, device=CPU).data_ptr() == place


def test_no_buffer_is_borrowed_twice_and_few_are_kept():
    pool = BufferPool(most=2)
    held = [pool.borrow(5, device=CPU).fill_(i) for i in range(6)]
    assert [float(x[0]) for x in held] == [0, 1, 2, 3, 4, 5]
    del held
    gc.collect()
    assert len(pool) == 2


def test_buffers_are_found_by_their_size():
    pool = BufferPool()
    held = [pool.borrow(size, device=CPU) for size in (3, 4, 5)]
    places = {x.numel(): x.data_ptr() for x in held}
    del held
    gc.collect()
    again = [pool.borrow(size, device=CPU) for size in (4, 3, 5)]
    assert {x.numel(): x.data_ptr() for x in again} == places and len(pool) == 0
    assert pool.borrow(4, device=CPU).data_ptr() not in places.values()


def test_threads_never_share_a_buffer():
    pool, wrong = BufferPool(), []

    def work(number: int) -> None:
        for _ in range(300):
            one, other = pool.borrow(7, device=CPU), pool.borrow(9, device=CPU)
            one.fill_(number)
            other.fill_(-number)
            if bool((one != number).any()) or bool((other != -number).any()):
                wrong.append(number)

    threads = [Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and 2 <= len(pool) <= 16  # a thread holds the last two while it borrows two more
