"""The view policy `spans`: random parts of a text, with tokens dropped, masked and moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ssl_zoo.batch import InputSpec, View, ViewSpec
from ssl_zoo.data.source import Samples, ViewPolicy
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.text.tokenizers import open_tokenizer
from ssl_zoo.modalities.text.views.known import Known
from ssl_zoo.modalities.text.views.render import picture
from ssl_zoo.registry import register

Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


@register("views", "spans")
class Spans(ViewPolicy):
    """Spans of random length and place of a text, or of one of a sample's texts; then dropped, masked and moved tokens.

    A view is `length` token ids, 0 being padding at the end. A span is a fraction of its text or, where the text has
    more than `length` tokens, of `length`. Dropped tokens are deleted, and those behind them close up (Wei & Zou 2019,
    arXiv 1901.11196, random deletion). The box of a view is its span, before that.

    Args:
        num_views: views per sample.
        length: token ids of a view.
        tokenizer: `bytes`; `words`, which are hashed; the path of a word list `*.txt`, a word a line; or that of a
            trained tokenizer `*.json` of Hugging Face's library `tokenizers`.
        num_words: with `words`, the number of ids that words share.
        distinct: whether the views of a sample of several texts show different ones, as far as there are any.
        scale: shortest and longest span, as fractions.
        drop: probability that a token is deleted; one always stays.
        mask: probability that a token becomes the mask token.
        move: how many places a token may move at most, among those that stay (Lample et al. 2018, arXiv 1711.00043,
            section 2.3).
        looks: views of a sample whose features evaluation averages: of each of its texts in turn and, of texts longer
            than `length`, of places that are evenly spread.

    Raises:
        UserError: a scale that runs backwards, a tokenizer that cannot be used or, where tokens are to be masked, has
            no mask token.
    """

    modality = "text"
    mild = {"num_views": 1, "mask": 0.0}

    def __init__(
        self,
        *,
        num_views: Count = 2,
        length: Count = 64,
        tokenizer: str = "bytes",
        num_words: Annotated[int, Field(ge=1, le=2**24)] = 8192,
        distinct: bool = True,
        scale: tuple[Fraction, Fraction] = (0.5, 1.0),
        drop: Probability = 0.1,
        mask: Probability = 0.0,
        move: Annotated[int, Field(ge=0)] = 0,
        looks: Count = 1,
    ) -> None:
        super().__init__()
        if scale[0] > scale[1]:
            raise UserError(f"views.scale: {list(scale)} runs backwards; give the shortest span first.")
        self.num_views, self.length, self.distinct, self.scale = num_views, length, distinct, scale
        self.drop, self.mask, self.move, self.num_looks = drop, mask, move, looks
        self.ids = Known(open_tokenizer(tokenizer, num_words))
        self._mask_id = self.ids.tokenizer.mask
        if mask > 0 and self._mask_id is None:
            raise UserError(
                f"views.mask: the tokenizer {tokenizer} has no mask token; use views.mask=0 and views.drop."
            )
        view = ViewSpec("global", (length,), dtype=torch.int64)
        self.spec = InputSpec(self.modality, (view,) * num_views, vocabulary=self.ids.tokenizer.vocabulary)

    def draw(self, generator: torch.Generator, num: int) -> dict[str, Tensor]:
        """Draw all that is random in the views of `num` samples; each entry is `(num, num_views, ...)`."""
        shape = (num, self.num_views)
        return {
            "text": torch.rand(*shape, generator=generator),
            "span": torch.rand(*shape, 2, generator=generator),
            "drop": torch.rand(*shape, self.length, generator=generator),
            "mask": torch.rand(*shape, self.length, generator=generator),
            "move": torch.rand(*shape, self.length, generator=generator),
        }

    def collate(self, samples: Samples, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tokenise the texts that were drawn, and cut the spans.

        Returns:
            The payload for `forward`: `tokens` `(B, V, length)` int64, their place `box` `(B, V, 3, 1)`, and the draws
            that are used.

        Raises:
            UserError: samples that are no texts.
        """
        rows: list[np.ndarray] = []
        boxes: list[tuple[float, float, float]] = []
        for sample, texts, spans in zip(samples, params["text"].tolist(), params["span"].tolist(), strict=True):
            self._check(sample)
            for text, (extent, place) in zip(chosen(texts, len(sample), self.distinct), spans, strict=True):
                ids = self.ids(sample[text])
                start, num = self._span(len(ids), extent, place)
                rows.append(ids[start : start + num])
                boxes.append((start / len(ids), num / len(ids), 0.0))
        shape = (len(samples), self.num_views)
        used = {"drop": self.drop > 0, "mask": self.mask > 0, "move": self.move > 0}
        return {
            "tokens": padded(rows, self.length).view(*shape, self.length),
            "box": torch.tensor(boxes).view(*shape, 3, 1),
            **{name: params[name] for name, needed in used.items() if needed},
        }

    def _span(self, total: int, extent: float, place: float) -> tuple[int, int]:
        """Return the first token of a span and their number, of a text of `total` tokens."""
        low, high = self.scale
        num = max(1, round((low + (high - low) * extent) * min(total, self.length)))
        return min(int(place * (total - num + 1)), total - num), num

    def _check(self, sample: object) -> None:
        if not isinstance(sample, tuple) or not sample:
            raise UserError(f"views: made for texts, but a sample is a {type(sample).__name__}; give data of texts.")

    @torch.no_grad()
    def forward(self, payload: dict[str, Tensor]) -> list[View]:
        """Return the views, each `(B, length)` int64, on the payload's device."""
        tokens = payload["tokens"]
        real = tokens != 0
        if self._mask_id is not None and "mask" in payload:
            tokens = torch.where(real & (payload["mask"] < self.mask), self._mask_id, tokens)
        if "drop" in payload:
            chance = payload["drop"].masked_fill(~real, -1)
            tokens = closed_up(tokens, real & ((chance >= self.drop) | (chance == chance.amax(dim=2, keepdim=True))))
        if "move" in payload:
            tokens = moved(tokens, payload["move"], self.move)
        return [
            View(view, self.modality, aux={"box": box, "lengths": (view != 0).sum(dim=1)})
            for view, box in zip(tokens.unbind(dim=1), payload["box"].unbind(dim=1), strict=True)
        ]

    @torch.no_grad()
    def plain(self, samples: Samples) -> View:
        """Return the first text of each sample, its first `length` tokens.

        Raises:
            UserError: as `collate`.
        """
        return self._look(samples, 0, 1)

    @torch.no_grad()
    def looks(self, samples: Samples) -> list[View]:
        """Return what the evaluation sees: `plain`, or as many views as the option `looks` says.

        Raises:
            UserError: as `collate`.
        """
        return [self._look(samples, number, self.num_looks) for number in range(self.num_looks)]

    def _look(self, samples: Samples, number: int, total: int) -> View:
        """Return look `number` of `total`: the texts take turns, and each shows evenly spread places."""
        rows = []
        for sample in samples:
            self._check(sample)
            turn, text = divmod(number, len(sample))
            turns = -(-(total - text) // len(sample))
            ids = self.ids(sample[text])
            spare = max(0, len(ids) - self.length)
            start = spare * turn // max(1, turns - 1)
            rows.append(ids[start : start + self.length])
        x = padded(rows, self.length)
        return View(x, self.modality, aux={"lengths": (x != 0).sum(dim=1)})

    def picture(self, samples: Samples, views: Sequence[View]) -> Tensor:
        """Return texts to read `(3, H, W)`, uint8: a row per sample, first the plain one, then its views."""
        columns = [view.tensor.cpu() for view in (self.plain(samples), *views)]
        decode = self.ids.tokenizer.decode
        rows = [
            [decode([i for i in ids.tolist() if i], sample) for ids in row]
            for sample, row in zip(samples, zip(*columns, strict=True), strict=True)
        ]
        return picture(rows)


def chosen(drawn: Sequence[float], total: int, distinct: bool) -> list[int]:
    """Return which of `total` texts each view shows.

    Args:
        drawn: a uniform number in [0, 1) per view.
        total: of the sample's texts.
        distinct: whether each text is shown once before any is shown again.
    """
    if total == 1:
        return [0] * len(drawn)
    left: list[int] = []
    found = []
    for number in drawn:
        if not left or not distinct:
            left = list(range(total))
        found.append(left.pop(min(int(number * len(left)), len(left) - 1)))
    return found


def padded(rows: Sequence[np.ndarray], length: int) -> Tensor:
    """Return rows of at most `length` ids as `(len(rows), length)` int64, zeros at the end."""
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    x = np.zeros((len(rows), length), np.int64)
    x[np.arange(length) < sizes[:, None]] = np.concatenate(rows)
    return torch.from_numpy(x)


def closed_up(tokens: Tensor, kept: Tensor) -> Tensor:
    """Return token ids `(..., L)` with those that are not `kept` deleted, and padding at the end."""
    place = kept.cumsum(dim=-1) - 1
    room = tokens.new_zeros(*tokens.shape[:-1], tokens.shape[-1] + 1)  # the last place is for what is deleted
    return room.scatter(-1, place.masked_fill(~kept, tokens.shape[-1]), tokens)[..., :-1]


def moved(tokens: Tensor, noise: Tensor, most: int) -> Tensor:
    """Return token ids `(..., L)` in another order, none more than `most` places from its own, padding at the end.

    Args:
        tokens: with padding at the end.
        noise: a uniform number in [0, 1) per token.
        most: places that a token moves.
    """
    order = torch.arange(tokens.shape[-1], device=tokens.device, dtype=torch.float32) + (most + 1) * noise
    return tokens.gather(-1, order.masked_fill(tokens == 0, torch.inf).argsort(dim=-1, stable=True))
