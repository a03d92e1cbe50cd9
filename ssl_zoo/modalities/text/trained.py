"""Trained tokenizers: a JSON file of Hugging Face's library `tokenizers`, which is imported when one is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl_zoo.errors import UserError, needs, short
from ssl_zoo.modalities.text.tokenizers import Tokenizer

MASKS = ("[MASK]", "<mask>", "<|mask|>")
UNKNOWNS = ("[UNK]", "<unk>", "<|unk|>")
SPARSE = 1000
"""Ids may leave out as many numbers as there are tokens, and this many more."""


class Trained(Tokenizer):
    """The tokenizer of a JSON file. Its ids are the file's plus 1, so that 0 is padding; it adds no special tokens.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        UserError: `tokenizers` is not installed, or cannot read the file, or its ids are no numbers of tokens.
    """

    def __init__(self, content: str, name: str) -> None:
        needs("tokenizers", "'ssl_zoo[text]'", f"views.tokenizer: {name}")
        self._tokenizer = _parsed(content, name)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        known: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        largest = max(known.values(), default=-1)
        if not known or largest > 2 * len(known) + SPARSE:
            raise UserError(
                f"views.tokenizer: {name} has {len(known)} tokens with ids up to {largest}; an encoder has a row "
                "for each id up to the largest, so give one whose ids are close together."
            )
        self.vocabulary = largest + 2
        self.mask = next((known[each] + 1 for each in MASKS if each in known), None)
        # What stands for a text of which the file's normalizer leaves nothing.
        self._nothing = next((known[each] for each in UNKNOWNS if each in known), min(known.values()))

    def encode(self, text: str) -> np.ndarray:
        """Return the file's ids plus 1."""
        clean = text.encode("utf-8", "replace").decode()  # it does not take half characters
        ids = self._tokenizer.encode(clean, add_special_tokens=False).ids
        return np.array(ids or [self._nothing], np.int32) + 1

    def decode(self, ids: Sequence[int], texts: Sequence[str] = ()) -> str:
        """Return the text."""
        return self._tokenizer.decode([i - 1 for i in ids], skip_special_tokens=False)


def _parsed(content: str, name: str) -> Any:
    from tokenizers import Tokenizer as Parsed

    try:
        return Parsed.from_str(content)
    except BaseException as error:  # a panic of its Rust code is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        reason = short(" ".join(str(error).split()))
        raise UserError(
            f"views.tokenizer: {name} is no tokenizer that the library tokenizers reads: {reason}."
        ) from None
