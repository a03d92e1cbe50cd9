"""The modality `text`: UTF-8 files, and strings in tables, become tuples of texts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, BinaryIO

import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import InputSpec, View
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.defaults import Defaults, Given
from ssl_zoo.data.source import Media, Modality, Sample
from ssl_zoo.modalities.text.decode import EXTENSIONS, MAX_BYTES, Texts, decode, sample_of
from ssl_zoo.modalities.text.defaults import text_defaults
from ssl_zoo.registry import register

COLUMNS = ("text", "texts", "caption", "captions", "sentence", "sentences", "document", "content")


@register("modality", "text")
class Text(Modality):
    """Texts in UTF-8, a file for each; in parquet files strings, lists of strings, or bytes.

    A sample is one text, or several that say the same, such as the captions of an image. Blank ones are left out, and a
    sample without any other cannot be read. Views are token ids: their policy has the tokenizer.

    Args:
        spec: of the views, for their vocabulary.
        max_bytes: the largest sample, all its texts together.
    """

    axes = "words"
    studies = ("text", "cifar10", "masked")
    extensions = EXTENSIONS
    columns = COLUMNS
    reads_text = True
    any_size = True
    size_option = "data.decode.max_bytes"

    def __init__(self, spec: InputSpec, *, max_bytes: Annotated[int, Field(ge=1)] = MAX_BYTES) -> None:
        super().__init__(spec)
        self.max_bytes = max_bytes

    def decode(self, data: bytes | BinaryIO, name: str) -> Texts:
        """Return an encoded text as a sample of one text; see `text.decode.decode`."""
        return sample_of([decode(data, name)], name, self.max_bytes)

    def from_value(self, value: Any, name: str) -> Texts:
        """Return the sample of a table's cell: a string, a list of strings, or bytes in UTF-8.

        Raises:
            BadSample: it is another value, or blank.
        """
        if isinstance(value, bytes):
            return self.decode(value, name)
        if isinstance(value, str):
            return sample_of([value], name, self.max_bytes)
        if isinstance(value, Sequence):
            return sample_of(value, name, self.max_bytes)
        raise BadSample(name, f"a {type(value).__name__}, not a text")

    def nbytes(self, sample: Sample) -> int:
        """Return the size of a sample in memory, in bytes."""
        return sys.getsizeof(sample) + sum(map(sys.getsizeof, sample))

    def media(self, sample: Sample) -> list[Media]:
        """Return the texts of a sample."""
        return [Media("text/plain", text.encode("utf-8", "replace")) for text in sample]

    def describe(self, sample: Sample) -> str:
        """Return the number of words, between white space; of several texts `5 texts, 60`."""
        num = sum(len(text.split()) for text in sample)
        return str(num) if len(sample) == 1 else f"{len(sample)} texts, {num}"

    def raw(self, view: View, max_dim: int = 4096) -> Tensor:
        """Return a bag of tokens `(B, D)`: the share of each token id in a text, padding left out.

        Args:
            view: of plain samples, token ids `(B, L)`.
            max_dim: largest D. More tokens than that share places, by a fixed hash.
        """
        x = view.tensor
        num = max(2, self.spec.vocabulary or int(x.max()) + 1)
        place = x - 1
        if num - 1 > max_dim:
            place = place * 2654435761 % 2**32 % max_dim  # Knuth's multiplicative hash: neighbours part
        bag = torch.zeros(len(x), min(num - 1, max_dim), device=x.device)
        real = (x != 0).float()
        bag.scatter_add_(1, place.clamp(min=0), real)
        return bag / real.sum(dim=1, keepdim=True).clamp(min=1)

    def defaults(self, samples: Iterable[Texts], given: Given) -> Defaults:
        """Return the settings of a first recipe on some texts; see `text_defaults`."""
        return text_defaults(samples, given)
