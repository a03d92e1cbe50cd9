"""What the registry-wide contract tests need to know of texts."""

import torch

from ssl_zoo.batch import InputSpec, ViewSpec
from tests.contract import Sort

LENGTH = 16
SENTENCES = (
    "A black dog and a spotted dog are fighting .",
    "Two children, one in red, play in the snow.",
    "Ein Mädchen klettert in ein hölzernes Spielhaus.",
    "水の上を走る犬",
    "!",
)


def texts(num: int, channels: int = LENGTH) -> list[tuple[str, ...]]:
    """Return samples of one, two and three texts."""
    return [tuple(SENTENCES[(i + k) % len(SENTENCES)] for k in range(1 + i % 3)) for i in range(num)]


def spec_of(vocabulary: int = 258, length: int = LENGTH) -> InputSpec:
    """Return the spec of two views of token ids."""
    return InputSpec("text", (ViewSpec("global", (length,), dtype=torch.int64),) * 2, vocabulary=vocabulary)


SORT = Sort(
    spec_of(),
    texts,
    {"spans": {"length": LENGTH, "mask": 0.1, "move": 2}},
    {"huggingface/*": None},
)
