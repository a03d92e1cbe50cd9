"""Images of 1, 2, 4 and 13 channels and 16 bits reach the encoder unclipped (T36), whatever step they are read in."""

import io

import numpy as np
import pytest
import tifffile
import torch

from ssl_zoo.data.loader import Loader
from ssl_zoo.data.open import open_data
from ssl_zoo.methods.build import build_modality, build_views
from ssl_zoo.recipe.load import load_recipe
from tests.modalities.image.test_stored import png16

RNG = np.random.default_rng(0)
STILL = (
    "views.flip=0", "views.jitter=0", "views.grey=0", "views.saturation=0", "views.hue=0", "views.blur=0",
    "views.scale=[1, 1]", "views.ratio=[1, 1]", "views.size=16", "encoder=convnet", "data.num_workers=0",
)  # fmt: skip


def tiff(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    planes = {"planarconfig": "separate", "photometric": "minisblack"} if len(pixels) > 1 else {}
    tifffile.imwrite(buffer, pixels if len(pixels) > 1 else pixels[0], metadata=None, **planes)
    return buffer.getvalue()


def npy(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def png(pixels: np.ndarray) -> bytes:
    return png16(pixels.transpose(1, 2, 0), {1: 0, 2: 4, 3: 2, 4: 6}[len(pixels)])


WRITTEN = {"tif": tiff, "png": png, "npy": npy}


def opened(folder, channels: int, *overrides: str):
    numbers = [round(0.3 + 0.01 * c, 2) for c in range(channels)]
    settings = (f"views.channels={channels}", f"views.mean={numbers}", f"views.std={numbers}", *STILL, *overrides)
    recipe = load_recipe("simsiam", settings, data=str(folder))
    policy = build_views(recipe)
    return policy, open_data(recipe.data.source, build_modality(recipe, policy.spec)).train


@pytest.mark.parametrize("kind", ["tif", "png", "npy"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_values_of_16_bits_reach_the_encoder(tmp_path, channels, kind):
    if kind == "png" and channels == 13:
        pytest.skip("a PNG has at most four bands")
    pixels = RNG.integers(0, 65536, (4, channels, 16, 16)).astype(np.uint16)
    for i, image in enumerate(pixels):
        (tmp_path / f"{i}.{kind}").write_bytes(WRITTEN[kind](image))
    policy, train = opened(tmp_path, channels, "data.decode.dtype=stored")
    samples = train.read_batch(torch.arange(4))
    for view in (*policy(policy.collate(samples, policy.draw(torch.Generator(), 4))), policy.plain(samples)):
        levels = (view.tensor.double() * policy.std + policy.mean) * 65535
        torch.testing.assert_close(levels, torch.from_numpy(pixels).double(), rtol=0, atol=0.1)


def test_batches_are_the_same_from_any_step_and_in_parts_of_processes(tmp_path):
    for i in range(8):
        (tmp_path / f"{i}.tif").write_bytes(tiff(RNG.integers(0, 65536, (13, 18 + i, 20)).astype(np.uint16)))
    policy, train = opened(tmp_path, 13, "views.scale=[0.2, 1]", "views.flip=0.5", "views.drop_channels=0.3")
    assert not train.stacked  # images of several sizes are cut as they are read

    def views(start: int, rank: int = 0, num_ranks: int = 1) -> list[torch.Tensor]:
        loader = Loader(train, policy, batch_size=4, seed=0, rank=rank, num_ranks=num_ranks)
        [[batch]] = loader.iterate(start, start + 1)
        return [view.tensor for view in policy(batch.payload)]

    all_of_them = list(Loader(train, policy, batch_size=4, seed=0).iterate(0, 3))
    for view, other in zip(policy(all_of_them[2][0].payload), views(2), strict=True):
        assert torch.equal(view.tensor, other)
    for whole, *parts in zip(views(1), views(1, 0, 2), views(1, 1, 2), strict=True):
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-5)
