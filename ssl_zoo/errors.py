"""The exceptions that carry a message for the user.

`UserError` is a mistake that the user can mend: its text is one sentence that says what is wrong, where, and what to
do. The command line prints it without a traceback and exits with code 2. `TrainingFailed` is a run that broke off for
another reason; exit code 1.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A user's mistake, told in one sentence: what, where, what to do."""

    def __str__(self) -> str:
        """Return the sentence, on one line and printable whatever names are in it."""
        return _sentence(super().__str__())


class TrainingFailed(RuntimeError):
    """The run cannot go on, for a reason that is not the user's input: one sentence."""

    def __str__(self) -> str:
        """Return the sentence, on one line and printable whatever names are in it."""
        return _sentence(super().__str__())


class NotFinite(TrainingFailed):
    """The loss or the weights are no numbers any more; going on from the last checkpoint would end alike."""

    advice = "try a lower training.base_lr, a longer training.schedule.warmup_epochs, or training.precision=fp32."


class CannotWrite(TrainingFailed):
    """A file cannot be written: the disk is full, the folder is read-only or gone."""


LONGEST = 500
"""Characters of a word in a sentence: a value of a user's file may be of any length."""


def _sentence(text: str) -> str:
    """Return a sentence as it is printed: on one line, and with words of any length cut."""
    words = shown_name(text).split(" ")
    return " ".join(word if len(word) <= LONGEST else f"{word[: LONGEST - 3]}..." for word in words)


def shown_name(name: str) -> str:
    r"""Return a name in printable form: `\n`, `\t`, `\xe9` for line breaks, control characters, bytes beyond UTF-8.

    File names may hold any byte. Those that are not UTF-8 are surrogates in Python's strings, which no file and no
    terminal takes; line breaks and tabs would make one row of a list look like two.
    """
    return name if name.isprintable() else "".join(map(_shown, name))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that `surrogateescape` carried through
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def suggest(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean X? Known: A, B' for an unknown `word`, the nearest match first if there is one."""
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    hint = f"; did you mean {lowered[near[0]]!r}?" if near else "."
    shown = ", ".join(names) if names else "none"
    return f"{hint} Known: {shown}"
