"""Views stacked in one pass: views of one shape together, the projector over all, as in the code of SwAV and DINO."""

import torch
from torch import nn

from ssl_zoo.batch import View
from ssl_zoo.methods.branch import embed


def parts() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return encoder.double(), nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).double()


def views() -> list[View]:
    return [View(torch.randn(6, 3, size, size, dtype=torch.float64)) for size in (8, 8, 5, 5, 5)]


def test_views_of_one_shape_share_their_statistics_and_the_projector_sees_all() -> None:
    encoder, projector = parts()
    seen = views()
    z = embed(encoder, projector, seen, stack=True)
    wide, small = (encoder(torch.cat([v.data for v in group])) for group in (seen[:2], seen[2:]))
    expected = projector(torch.cat([wide, small]))
    torch.testing.assert_close(torch.cat(z), expected)
    assert [x.shape for x in z] == [(6, 5)] * 5


def test_unstacked_views_are_passes_of_their_own() -> None:
    encoder, projector = parts()
    seen = views()
    for x, view in zip(embed(encoder, projector, seen, stack=False), seen, strict=True):
        torch.testing.assert_close(x, projector(encoder(view.data)))


def test_without_batch_statistics_stacking_changes_nothing() -> None:
    encoder, projector = (part.eval() for part in parts())
    seen = views()
    for a, b in zip(embed(encoder, projector, seen, True), embed(encoder, projector, seen, False), strict=True):
        torch.testing.assert_close(a, b)
