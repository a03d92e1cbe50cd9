"""VICRegL: places and their matches by hand; the loss is in test_oracles.py."""

import pytest
import torch

from ssl_zoo.batch import Batch, View
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build
from ssl_zoo.methods.local import Local
from ssl_zoo.methods.places import centres, match, take
from ssl_zoo.recipe.load import load_recipe

SMALL = (
    "encoder={name: convnet, widths: [4, 6]}", "projector.dims=[8, 8]", "local_projector.dims=[5, 5]",
    "location_matches=3",
)  # fmt: skip


def views(num: int = 2, batch: int = 7) -> list[View]:
    g = torch.Generator().manual_seed(0)
    made = []
    for _ in range(num):
        place = torch.rand(batch, 5, generator=g) * 0.4 + torch.tensor([0.0, 0.0, 0.3, 0.3, 0.0])
        place[:, 4] = (torch.rand(batch, generator=g) > 0.5).float()
        data = torch.randn(batch, 3, 8, 8, generator=g, dtype=torch.float64)
        made.append(View(data, "image", aux={"box": box(place)}))
    return made


def box(place: torch.Tensor) -> torch.Tensor:
    """Return the box `(B, 3, 2)` of places `(B, 5)`: top, left, height, width, flipped."""
    mirrored = torch.stack([torch.zeros(len(place)), place[:, 4]], dim=1)
    return torch.stack([place[:, :2], place[:, 2:4], mirrored], dim=1)


def method(*overrides: str) -> Local:
    made = build(load_recipe("vicregl", [*SMALL, *overrides])).double()
    assert isinstance(made, Local)
    return made


def test_centres_of_cells_by_hand() -> None:
    # The lower right quarter of the sample, 2 x 2 cells: rows at 0.5 + 0.5 (1/4, 3/4), columns the same
    geometry = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.0], [0.5, 0.5, 0.5, 0.5, 1.0]])
    plain, flipped = centres(box(geometry), (2, 2))
    torch.testing.assert_close(plain, torch.tensor([[0.625, 0.625], [0.625, 0.875], [0.875, 0.625], [0.875, 0.875]]))
    torch.testing.assert_close(flipped, plain[[1, 0, 3, 2]])


def test_centres_on_one_axis_and_on_three() -> None:
    line = centres(torch.tensor([[[0.5], [0.5], [0.0]]]), (2,))
    torch.testing.assert_close(line, torch.tensor([[[0.625], [0.875]]]))
    whole = torch.stack([torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([[1.0, 0.0, 0.0]])], dim=1)
    clip = centres(whole, (2, 1, 2))  # the first axis is mirrored
    expected = [[0.75, 0.5, 0.25], [0.75, 0.5, 0.75], [0.25, 0.5, 0.25], [0.25, 0.5, 0.75]]
    torch.testing.assert_close(clip, torch.tensor([expected]))


def test_the_same_crop_matches_cell_by_cell_and_its_mirror_image_the_mirrored_cell() -> None:
    geometry = torch.tensor([[0.1, 0.2, 0.5, 0.6, 0.0]])
    mirrored = torch.tensor([[0.1, 0.2, 0.5, 0.6, 1.0]])
    kept, nearest = match(centres(box(geometry), (2, 3)), centres(box(geometry), (2, 3)))
    assert kept[0].tolist() == nearest[0].tolist() == [0, 1, 2, 3, 4, 5]
    _, nearest = match(centres(box(geometry), (2, 3)), centres(box(mirrored), (2, 3)))
    assert nearest[0].tolist() == [2, 1, 0, 5, 4, 3]


def test_the_nearest_matches_are_kept_in_the_order_of_their_places() -> None:
    ours = torch.tensor([[[0.0], [10.0], [4.0], [7.0]]])
    theirs = torch.tensor([[[7.5], [0.1], [20.0]]])  # distances 0.1, 2.5, 3.5, 0.5 to entries 1, 0, 0, 0
    kept, nearest = match(ours, theirs, 2)
    assert kept.tolist() == [[0, 3]] and nearest.tolist() == [[1, 0]]
    kept, nearest = match(ours, theirs, 9)
    assert kept.tolist() == [[0, 1, 2, 3]] and nearest.tolist() == [[1, 0, 0, 0]]
    assert take(theirs, nearest)[0, :, 0].tolist() == pytest.approx([0.1, 7.5, 7.5, 7.5])


def test_each_term_is_told_apart() -> None:
    names = ["mse", "variance", "covariance"]
    terms = method()(Batch(views())).terms
    assert list(terms) == [*names, *(f"location_{x}" for x in names), *(f"feature_{x}" for x in names)]


def test_without_matches_it_is_vicreg() -> None:
    made = method("location_matches=0", "feature_matches=0")
    output = made(Batch(views()))
    assert list(output.terms) == ["mse", "variance", "covariance"]


def test_tokens_average_to_the_features() -> None:
    made, (view, _) = method().eval(), views()
    tokens, grid = made.encoder.tokens(view)
    assert tokens.shape[1] == grid[0] * grid[1]
    torch.testing.assert_close(tokens.mean(dim=1), made.encoder(view.data))
    for name in ("resnet18", "resnet50"):
        recipe = load_recipe("simsiam", [f"encoder={{name: {name}, stem: small, width: 0.1}}"])
        encoder = build(recipe).encoder.double().eval()
        torch.testing.assert_close(encoder.tokens(view)[0].mean(dim=1), encoder(view.data))


def test_errors_say_what_to_do() -> None:
    with pytest.raises(UserError, match="gives no features of places"):
        build(load_recipe("vicregl", [*SMALL[1:], "encoder=timm/resnet10t"]))
    with pytest.raises(UserError, match="stack_views: unknown key"):
        build(load_recipe("vicregl", [*SMALL, "stack_views=true"]))
    made = method()
    with pytest.raises(UserError, match="two target views"):
        made(Batch([View(v.data) for v in views()]))
