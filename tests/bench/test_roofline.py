"""The roofline: arithmetic and bytes of known operations, and the least time that follows."""

import torch
from torch import nn

from ssl_zoo.bench.roofline import Count, Machine, describe


def test_products_convolutions_and_their_gradients_are_counted():
    linear, x = nn.Linear(6, 5, bias=False), torch.randn(7, 6)
    with Count() as count:
        linear(x).sum().backward()
    assert count.flops == 2 * (2 * 7 * 6 * 5)  # the product, and its gradient by the weights; x needs none
    conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    image = torch.randn(2, 3, 8, 8, requires_grad=True)
    with Count() as count:
        conv(image).sum().backward()
    assert count.flops == 3 * (2 * 2 * 4 * 8 * 8 * 3 * 9)  # and by the image


def test_bytes_are_what_is_read_and_written_and_views_are_free():
    x = torch.zeros(10, 10)
    with Count() as count:
        y = x.view(100)[:50] + 1
        x.add_(1)
    assert count.ops == [(0, 4 * (50 + 50)), (0, 4 * (100 + 100))] and y.shape == (50,)


def test_the_least_time_is_of_the_slower_of_both_for_each_operation():
    count = Count()
    count.ops = [(1000, 10), (0, 600)]
    machine = Machine(flops=100.0, bytes=20.0)
    assert count.seconds(machine) == 10.0 + 30.0
    text = describe(count, machine, images=4, rate=0.05)
    assert "12% of a matrix product" in text and "0.1 images/s are possible" in text and text.endswith("reaches 50%")
