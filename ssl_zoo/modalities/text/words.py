"""Words of a text, and lists of the words of a data set.

`python -m ssl_zoo.modalities.text.words SRC --out words.txt` writes one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

from ssl_zoo import registry
from ssl_zoo.batch import InputSpec, ViewSpec
from ssl_zoo.data.bad_samples import BadSample
from ssl_zoo.data.source import Split
from ssl_zoo.errors import UserError

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; every other character that is not white space is one of its own.

    Letters are composed first (NFC), so that both spellings of an accent are one word.
    """
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def most_frequent(split: Split, num: int) -> list[str]:
    """Return the most frequent words of a split of texts, the first first; equally frequent ones by their letters.

    Samples that cannot be read are left out.
    """
    counts: Counter[str] = Counter()
    for i in range(len(split)):
        try:
            sample = split.read(i)
        except BadSample:
            continue  # training names it, by the recipe's policy
        for text in sample:
            counts.update(words(text))
    return [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:num]]


def write_words(data: str, out: str, num: int = 8192) -> int:
    """Write the most frequent words of the training texts of some data, one a line, for `views.tokenizer`.

    Args:
        data: a folder, zip, parquet file, or file of lines.
        out: the list, a file `*.txt`.
        num: the largest number of words.

    Returns:
        their number.

    Raises:
        UserError: no source reads the data, or `out` is no `*.txt`.
    """
    if not out.endswith(".txt"):
        raise UserError(f"--out {out}: the name of a word list ends in .txt.")
    path = Path(data).expanduser()
    modality = registry.build("modality", "text", {}, spec=InputSpec("text", (ViewSpec("global", (1,)),)))
    for entry in registry.entries("source"):
        matches = getattr(entry.factory, "matches", None)
        if matches is not None and path.exists() and matches(path, type(modality)):
            source = registry.build("source", entry.name, {"path": str(path)}, modality=modality)
            found = most_frequent(source.split("train"), num)
            Path(out).write_text("".join(f"{word}\n" for word in found), encoding="utf-8")
            return len(found)
    raise UserError(f"{data}: no such file or folder, or none that is read as texts.")


def main() -> None:
    """Write a list of words: the command of this module."""
    import click

    @click.command()
    @click.argument("src")
    @click.option("--out", required=True, help="The list to write, a file *.txt.")
    @click.option(
        "--num", type=click.IntRange(min=1), default=8192, show_default=True, help="Number of words, at most."
    )
    def command(src: str, out: str, num: int) -> None:
        """Write the most frequent words of the training texts of SRC, one a line."""
        try:
            click.echo(f"{write_words(src, out, num)} words in {out}")
        except (UserError, OSError) as error:
            raise click.ClickException(str(error)) from None

    command()


if __name__ == "__main__":
    main()
