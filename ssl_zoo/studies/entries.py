"""The entries of a comparison: recipes with a name each, and the options that change all of them or one.

An entry is written RECIPE or NAME=RECIPE. An option is written for all entries, `training.batch_size=64`, or for one,
`simsiam:predictor.dims=[64, 256]`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssl_zoo.errors import UserError, shown_name, suggest
from ssl_zoo.recipe.load import is_experiment, load_recipe, read, recipe_path
from ssl_zoo.recipe.model import Recipe
from ssl_zoo.recipe.overrides import split

_NAMED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One of the recipes that are compared.

    Attributes:
        name: of its row in tables.
        reference: a method, an experiment, a file or a run folder.
        data: in place of the recipe's own.
        variant: of an experiment.
        shared: overrides that all entries get.
        own: overrides of this entry alone; they come after the shared ones.
    """

    name: str
    reference: str
    data: str | None = None
    variant: str | None = None
    shared: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The start of its run folders' names."""
        return re.sub(r"[^\w.-]+", "-", self.name)

    @property
    def overrides(self) -> tuple[str, ...]:
        """All overrides."""
        return (*self.shared, *self.own)

    def load(self, seed: int, more: Sequence[str] = ()) -> Recipe:
        """Return the recipe.

        Args:
            seed: of the run.
            more: overrides on top.

        Raises:
            UserError: a mistake in the recipe or in an override.
        """
        changes = (*self.overrides, *more)
        try:
            return load_recipe(self.reference, changes, data=self.data, seed=seed, variant=self.variant)
        except UserError as error:
            raise UserError(f"{self.name}: {str(error).rstrip('.')}{self._advice()}") from None

    def _advice(self) -> str:
        """Return what to do about an error, where options that are meant for all entries are its cause."""
        try:
            load_recipe(self.reference, self.own, data=self.data, variant=self.variant)
        except UserError:
            return "."
        return "; to change one of the recipes and not all, write -s NAME:KEY=VALUE."


def read_entries(
    recipes: Sequence[str],
    overrides: Sequence[str] = (),
    variants: Sequence[str] = (),
    data: str | None = None,
) -> list[Entry]:
    """Return the entries of a comparison, each loaded once to find mistakes.

    Args:
        recipes: of the form RECIPE or NAME=RECIPE, with different names.
        overrides: of the form KEY=VALUE or NAME:KEY=VALUE.
        variants: of the form VARIANT, for all entries that are experiments, or NAME:VARIANT.
        data: for all of them; None leaves each its own.

    Raises:
        UserError: two entries of one name, an option for an entry that there is not, or a mistake in a recipe.
    """
    if not recipes:
        raise UserError("compare: name at least one recipe.")
    entries = [Entry(*_split_name(text), data=data) for text in recipes]
    for name, num in Counter(entry.folder for entry in entries).items():
        if num > 1:
            same = next(entry.reference for entry in entries if entry.folder == name)
            raise UserError(
                f"{same}: {num} recipes are called {name}; name them: "
                f"{' '.join(f'{letter}={same}' for letter in 'abcdefgh'[:num])}."
            )
    for text in overrides:
        only, rest = split_entry(text, entries, "-s")
        split(rest)  # report what is no override at all before what a recipe does not have
        if only is None:
            entries = [replace(entry, shared=(*entry.shared, rest)) for entry in entries]
        else:
            entries = [replace(entry, own=(*entry.own, rest)) if entry.name == only else entry for entry in entries]
    for text in variants:
        entries = _with_variant(entries, text)
    for entry in entries:
        entry.load(0)
    return entries


def _split_name(text: str) -> tuple[str, str]:
    """Return the name and the recipe of an entry."""
    match = _NAMED.fullmatch(text)
    if match is not None and not Path(text).exists():
        return match[1], match[2]
    path = Path(text)
    if path.suffix in (".yaml", ".yml"):
        return path.stem, text
    return (path.name if path.is_dir() else text), text


def split_entry(text: str, entries: Sequence[Entry], option: str) -> tuple[str | None, str]:
    """Return the entry that `NAME:KEY=VALUE` is for, and `KEY=VALUE`; None for all entries.

    Raises:
        UserError: there is no such entry.
    """
    key, equals, value = text.partition("=")
    name, colon, rest = key.rpartition(":")
    if not colon:
        return None, text
    return _known(name, entries, f"{option} {text}"), f"{rest}{equals}{value}"


def _known(name: str, entries: Sequence[Entry], where: str) -> str:
    """Return the name of the entry that is called so, or whose recipe is.

    Raises:
        UserError: there is none, or several have this recipe.
    """
    names: Collection[str] = [entry.name for entry in entries]
    found = [entry.name for entry in entries if name in (entry.name, entry.folder)]
    found = found or [entry.name for entry in entries if name == entry.reference]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{where}: {len(found)} of the recipes are {name}; say which: {', '.join(found)}.")
    raise UserError(shown_name(f"{where}: {name} is not among the recipes compared{suggest(name, names)}"))


def _with_variant(entries: Sequence[Entry], text: str) -> list[Entry]:
    """Return the entries, of which one, or all that are experiments, get a variant.

    Raises:
        UserError: there is no such entry, or none of them is an experiment.
    """
    name, colon, variant = text.rpartition(":")
    if colon:
        chosen = [_known(name, entries, f"--variant {text}")]
    else:
        chosen = [entry.name for entry in entries if is_experiment(read(recipe_path(entry.reference)))]
        if not chosen:
            raise UserError(f"--variant {text}: none of the recipes is an experiment; a whole method has no variants.")
    return [replace(entry, variant=variant) if entry.name in chosen else entry for entry in entries]
