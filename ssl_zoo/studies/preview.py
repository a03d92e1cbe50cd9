"""A preview of a recipe: the picture of its views, `ssl-zoo views`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ssl_zoo.data.preview import picture_of_views
from ssl_zoo.errors import UserError
from ssl_zoo.methods.build import build_views, open_recipe_data
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.runs.atomic import check_place, replacing


def write_views(recipe: Recipe, out: str | Path, samples: int = 8) -> None:
    """Write a PNG of a recipe's views: one row per sample, first the sample without augmentation, then its views.

    Args:
        recipe: its data, views and seed are used.
        out: the file; its folder exists.
        samples: number of rows.

    Raises:
        UserError: the file cannot be written, or the data cannot be read.
    """
    out = Path(out)
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: the folder {out.parent} does not exist.")
    check_place(out, "--out")
    policy = build_views(recipe)
    train = open_recipe_data(recipe, policy.spec).train
    picture = picture_of_views(train, policy, recipe.seed, samples)
    with replacing(out) as file:
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, format="PNG")
