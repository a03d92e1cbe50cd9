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


def test_only_views_of_one_modality_share_a_pass_and_keep_what_is_known_of_them() -> None:
    class Seen(nn.Module):
        """Keeps the views that it is given."""

        def encode(self, view: View) -> torch.Tensor:
            seen.append(view)
            return view.tensor.mean(dim=(2, 3))

    seen: list[View] = []
    boxes = [torch.rand(2, 3, 2) for _ in range(3)]
    made = [
        View(torch.rand(2, 4, 3, 3), modality, aux={"box": box})
        for modality, box in zip(("sound", "sound", "sight"), boxes, strict=True)
    ]
    z = embed(Seen(), nn.Identity(), made, stack=True)
    assert [(view.modality, len(view.tensor)) for view in seen] == [("sound", 4), ("sight", 2)]
    assert torch.equal(seen[0].aux["box"], torch.cat(boxes[:2])) and torch.equal(seen[1].aux["box"], boxes[2])
    assert all(torch.equal(x, view.tensor.mean(dim=(2, 3))) for x, view in zip(z, made, strict=True))
