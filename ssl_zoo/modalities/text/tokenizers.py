"""Tokenizers: from a text to token ids, 0 being padding. Bytes, hashed words, a list of words; see `trained` too."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_zoo.errors import UserError, shown_name
from ssl_zoo.modalities.text.words import words

MAX_FILE_BYTES = 2**26
"""The largest file of a tokenizer, in bytes."""

KNOWN_WORDS = 2**18
"""So many words are remembered with their ids, in each process."""

MASK = "[mask]"
UNKNOWN = "[unknown]"


class Tokenizer(ABC):
    """A function from texts to ids, the same in every process and every run.

    Attributes:
        vocabulary: number of ids, 0 (padding) among them.
        mask: the id that stands for a masked token; None where the tokenizer has none.
    """

    vocabulary: int
    mask: int | None

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Return the ids of a text, int32 `(N,)`, from 1 up."""

    @abstractmethod
    def decode(self, ids: Sequence[int], texts: Sequence[str] = ()) -> str:
        """Return ids without padding as a text to look at.

        Args:
            ids: of a view.
            texts: that they may have come from, for tokenizers whose ids do not tell.
        """


class Bytes(Tokenizer):
    """The bytes of a text in UTF-8: ids 1 to 256, and 257 for the mask. Knows every text of every language."""

    vocabulary = 258
    mask = 257

    def encode(self, text: str) -> np.ndarray:
        """Return each byte plus 1."""
        return np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int32) + 1

    def decode(self, ids: Sequence[int], texts: Sequence[str] = ()) -> str:
        """Return the text; bytes that are no whole character are shown as such."""
        masked = MASK.encode()
        return b"".join(masked if i == self.mask else bytes([i - 1]) for i in ids).decode("utf-8", "replace")


class _Words(Tokenizer):
    """Words in lower case and punctuation; a subclass numbers them."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    @abstractmethod
    def number(self, word: str) -> int:
        """Return the id of a word that is not known yet."""

    def encode(self, text: str) -> np.ndarray:
        """Return the id of each word."""
        known, found = self._ids, words(text)
        ids = np.empty(len(found), np.int32)
        for place, word in enumerate(found):
            number = known.get(word)
            if number is None:
                number = self.number(word)
                if len(known) < KNOWN_WORDS:
                    known[word] = number
            ids[place] = number
        return ids


class HashedWords(_Words):
    """Words in `num` buckets by a hash, so that no list is needed; words that share a bucket are one token.

    The ids are 0 for padding, 1 for the mask, and 2 up for words.

    Args:
        num: of buckets.
    """

    mask = 1

    def __init__(self, num: int) -> None:
        super().__init__()
        self.vocabulary = num + 2

    def number(self, word: str) -> int:
        """Return the bucket of a word, by its CRC-32."""
        return 2 + zlib.crc32(word.encode("utf-8", "replace")) % (self.vocabulary - 2)

    def decode(self, ids: Sequence[int], texts: Sequence[str] = ()) -> str:
        """Return words of the texts that have these ids."""
        known = {self.number(word): word for text in texts for word in words(text)} | {self.mask: MASK}
        return " ".join(known.get(i, UNKNOWN) for i in ids)


class ListedWords(_Words):
    """The words of a list; all others are one token.

    The ids are 0 for padding, 1 for words that are not in the list, 2 for the mask, and 3 up for those of the list.

    Args:
        listed: the words, each once.
    """

    mask = 2

    def __init__(self, listed: Sequence[str]) -> None:
        super().__init__()
        self._listed = list(listed)
        self._number = {word: 3 + place for place, word in enumerate(listed)}
        self.vocabulary = len(listed) + 3

    def number(self, word: str) -> int:
        """Return the place of a word in the list, 1 where it is not in it."""
        return self._number.get(word, 1)

    def decode(self, ids: Sequence[int], texts: Sequence[str] = ()) -> str:
        """Return the words; those that are not in the list are shown as such."""
        return " ".join({1: UNKNOWN, 2: MASK}.get(i) or self._listed[i - 3] for i in ids)


def open_tokenizer(name: str, num_words: int) -> Tokenizer:
    """Return a tokenizer.

    Args:
        name: `bytes`, `words` (hashed), the path of a word list `*.txt`, a word a line, or that of a trained tokenizer
            `*.json`, as Hugging Face's library `tokenizers` writes it.
        num_words: buckets of `words`.

    Raises:
        UserError: it is none of these, or the file cannot be used.
    """
    if name == "bytes":
        return Bytes()
    if name == "words":
        return HashedWords(num_words)
    suffix = Path(name).suffix.lower()
    if suffix == ".txt":
        return ListedWords(_listed(read_file(name), name))
    if suffix == ".json":
        from ssl_zoo.modalities.text.trained import Trained

        return Trained(read_file(name), name)
    raise UserError(f"views.tokenizer: {name!r} is neither bytes, words, nor a file *.txt (words) or *.json (trained).")


def read_file(name: str) -> str:
    """Return a file of a tokenizer as text.

    Raises:
        UserError: it cannot be read, is too large, or is not UTF-8.
    """
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            raise UserError(f"views.tokenizer: {name} is no file; paths are relative to the current folder.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(
                f"views.tokenizer: {name} has {size / 2**20:.0f} MiB, more than the {MAX_FILE_BYTES / 2**20:.0f} MiB "
                "of the largest tokenizer that is read."
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"views.tokenizer: cannot read {name}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"views.tokenizer: {name} is not UTF-8 (byte {error.start}).") from None


def _listed(text: str, name: str) -> list[str]:
    """Return the words of a list, as the tokenizer would find them in a text."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.strip()
        if not word:
            continue
        if words(word) != [word]:
            raise UserError(
                f"views.tokenizer: line {number} of {name} is {shown_name(word[:40])!r}, which is not one word in "
                "lower case; the list has a word a line."
            )
        if word in found:
            raise UserError(
                f"views.tokenizer: {name} has {shown_name(word)!r} twice, in lines {found[word]} and {number}."
            )
        found[word] = number
    if not found:
        raise UserError(f"views.tokenizer: {name} has no words.")
    return list(found)
