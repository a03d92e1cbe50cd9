"""The folders of a tree that are splits, by their names or by the option `splits`."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import yaml

from ssl_zoo.data.layout.left_out import files, some
from ssl_zoo.errors import UserError, shown_name, suggest

SplitName = Literal["train", "test", "val"]
Splits = Literal["auto", "none"] | dict[SplitName, str | list[str]]
"""Splits of a source: by the names of folders (`auto`), none, or folders for each split."""

_WORDS = {
    "train": ("train", "training", "trainset", "traindata", "trainval"),
    "test": ("test", "testing", "testset", "testdata", "eval", "evaluation"),
    "val": ("val", "valid", "validation", "valset", "dev"),
    "spare": ("unlabeled", "unlabelled", "unlabel", "extra"),
}
_ROLES = {word: role for role, words in _WORDS.items() for word in words}
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")

ADVICE = "-s 'data.source.splits={train: FOLDER, test: FOLDER}', or -s data.source.splits=none if they are classes"


@dataclass(frozen=True)
class Part:
    """Folders that belong to a split.

    Attributes:
        split: its name.
        pattern: the name of each folder on the way, `*` for any.
        label_at: which folder of a path is the class, counted from 0 at the root.
    """

    split: str
    pattern: tuple[str, ...]
    label_at: int

    def holds(self, folders: Sequence[str]) -> bool:
        """Return whether a path leads through this part."""
        return len(folders) >= len(self.pattern) and all(
            normal(folder) == normal(wanted) or fnmatchcase(folder, wanted)
            for folder, wanted in zip(folders, self.pattern, strict=False)
        )


def option(splits: Mapping[str, str | list[str]]) -> str:
    """Return what to type to name the folders of each split."""
    written = {"splits": dict(splits)}
    text = yaml.safe_dump(written, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).strip()
    change = "data.source.splits=" + text.removeprefix("{splits: ")[:-1]
    plain = "'" in change and not any(character in change for character in '"$`!\\')
    return f'-s "{change}"' if plain else f"-s {shlex.quote(change)}"


def normal(name: str) -> str:
    """Return a name with composed letters (NFC), as a Mac's decomposed ones look the same."""
    return unicodedata.normalize("NFC", name)


def role_of(name: str) -> tuple[str, str] | None:
    """Return the split that a name means, `train`, `test`, `val` or `spare`, and the rest of the name; None if nothing.

    `seg_train` is `("train", "seg")`, `Training` is `("train", "")`; the first such word counts.
    """
    tokens = [token.lower() for token in _TOKEN.findall(name)]
    if name.lower() in _ROLES:
        return _ROLES[name.lower()], ""
    for place, token in enumerate(tokens):
        if token in _ROLES:
            return _ROLES[token], "_".join([*tokens[:place], *tokens[place + 1 :]])
    return None


def understand(folders: Mapping[str, int], splits: Splits, where: str) -> tuple[list[Part], list[str]]:
    """Return the parts that make up the splits of a tree, and sentences about how it was understood.

    Args:
        folders: each folder that holds files to take, relative to the root, and how many.
        splits: the option of the source.
        where: what the messages call the root.

    Raises:
        UserError: folders that look like splits but may be meant otherwise, or that are asked for and not there.
    """
    root = _root(folders, where, splits)
    if isinstance(splits, dict):
        return list(_asked(folders, splits, root, where)), []
    everything = Part("train", root, len(root))
    if splits == "none":
        return [everything], []
    tops = Counter[str]()
    for folder, num in folders.items():
        tops[_at(folder, len(root))] += num
    found = _by_name(tops, where)
    if found is not None:
        notes = [note for note in (_read_as(found, where), _spare(tops, found, where)) if note is not None]
        return [Part(role, (*root, top), len(root) + 1) for role, top in found.items()], notes
    inside = _inside_classes(folders, len(root), where)
    if inside is not None:
        shown = ", ".join(f"{min(tops)}/{name}" for name in inside)
        note = f"{where}: the splits lie within the classes: {shown_name(shown)} and so on."
        return [Part(role, (*root, "*", name), len(root)) for name, role in inside.items()], [note]
    like = [top for top in tops if top and (role_of(top) or ("", "?"))[1] == ""]
    notes = []
    if like and len(tops) > 1:
        notes.append(
            f"{where}: {_names(like)} taken for classes like the others; if they are splits, say so: {ADVICE}."
        )
    return [everything], notes


def _at(folder: str, depth: int) -> str:
    parts = folder.split("/")
    return parts[depth] if len(parts) > depth else ""


def _root(folders: Collection[str], where: str, splits: Splits) -> tuple[str, ...]:
    """Return the chain of single folders at the top, down to a split."""
    root: tuple[str, ...] = ()
    while len(tops := {_at(folder, len(root)) for folder in folders}) == 1:
        [top] = tops
        role = _ROLES.get(top.lower()) if splits == "auto" else None
        if top == "" or role == "train":
            break
        if role in ("test", "val") and top.lower() not in ("dev", "eval"):
            raise UserError(
                f"{where} has {'/'.join((*root, top))}/ but no files in train/; to train on that: "
                f"{option({'train': top})}."
            )
        root = (*root, top)
    return root


def _asked(
    folders: Collection[str], splits: Mapping[SplitName, str | list[str]], root: tuple[str, ...], where: str
) -> Iterator[Part]:
    """Yield the parts that the user names, below the top or below the chain of single folders."""
    if "train" not in splits:
        raise UserError("data.source.splits names no folder for train.")
    parted = [folder.split("/") if folder else [] for folder in folders]
    taken: dict[tuple[str, ...], str] = {}
    for split, names in splits.items():
        for name in [names] if isinstance(names, str) else names:
            pattern = tuple(part for part in name.split("/") if part not in ("", "."))
            for start in ((), root):
                full = (*start, *pattern)
                star = next((i for i, part in enumerate(full) if "*" in part), len(full))
                part = Part(split, full, star)
                if any(part.holds(each) for each in parted):
                    break
            else:
                known = {"/".join(each[: len(root) + 1]) for each in parted}
                raise UserError(f"data.source.splits: {where} has no files in {name!r}{suggest(name, known)}")
            if part.pattern in taken:
                raise UserError(f"data.source.splits: {name!r} is named for {taken[part.pattern]} and for {split}.")
            taken[part.pattern] = split
            yield part


def _by_name(tops: Mapping[str, int], where: str) -> dict[str, str] | None:
    """Return the folder of each split, `{role: folder}`; None where the folders are no splits.

    Names are splits together if all but the word for the split is the same in them: `train2017` and `val2017`.
    """
    roles = {top: found for top in tops if (found := role_of(top)) is not None}
    others = tops.keys() - roles.keys()
    families: dict[str, dict[str, list[str]]] = {}
    for top in sorted(roles):
        role, rest = roles[top]
        families.setdefault(rest, {}).setdefault(role, []).append(top)
    plain = families.get("", {})
    complete = [rest for rest, family in families.items() if "train" in family and family.keys() & {"test", "val"}]
    if "" in complete or ("train" in plain and not others and len(families) == 1):
        chosen = plain
    elif len(complete) == 1 and not others:
        chosen = families[complete[0]]
    elif complete:
        like = [name for rest in complete for names in families[rest].values() for name in names]
        raise UserError(f"{where}: {_names(like)} look like splits; rename them train and test, or say so: {ADVICE}.")
    elif plain and "train" not in plain and not others and len(families) == 1:
        raise UserError(f"{where} has {' and '.join(f'{top}/' for top in sorted(tops))} but no files in train/.")
    else:
        _refuse_likely(roles, others, where)
        return None
    doubled = [names for role, names in chosen.items() if len(names) > 1 and role != "spare"]
    if doubled:
        raise UserError(
            f"{where}: {_names(doubled[0])} look like one split; rename them, or say which to take: {ADVICE}."
        )
    return {role: names[0] for role in ("train", "test", "val") for names in [chosen.get(role)] if names}


def _refuse_likely(roles: Mapping[str, tuple[str, str]], others: Collection[str], where: str) -> None:
    """Stop where all folders look like splits, but not of one set."""
    kinds = {role for role, _ in roles.values()}
    numbered = all(rest.isdigit() or not rest for _, rest in roles.values())
    if not others and len(roles) > 1 and "train" in kinds and (len(kinds) > 1 or numbered):
        raise UserError(
            f"{where}: {_names(sorted(roles))} look like splits, not classes; rename them train and test, or say so: "
            f"{ADVICE}."
        )


def _inside_classes(folders: Collection[str], depth: int, where: str) -> dict[str, str] | None:
    """Return the split that each name of a folder within the classes means, `{"Train": "train"}`, or None.

    Raises:
        UserError: splits lie deeper, or in some folders only.
    """
    below: dict[str, dict[str, str]] = {}
    deeper = ""
    for folder in folders:
        parts = folder.split("/")
        names = below.setdefault(parts[depth] if len(parts) > depth else "", {})
        if len(parts) > depth + 1 and parts[depth + 1].lower() in _ROLES:
            names[parts[depth + 1]] = _ROLES[parts[depth + 1].lower()]
        elif any(part.lower() in ("train", "training") for part in parts[depth + 2 :]):
            deeper = deeper or folder
    every = {name: role for names in below.values() for name, role in names.items() if role != "spare"}
    kinds = set(every.values())
    if "train" in kinds and len(kinds) > 1:
        if all("train" in names.values() for names in below.values()):
            return every
        without = next(top for top, names in sorted(below.items()) if "train" not in names.values())
        deeper = next(f"{top}/{name}" for top, names in sorted(below.items()) for name in names)
        raise UserError(
            f"{where}: there are splits within some folders, such as {shown_name(deeper)}, but none within "
            f"{shown_name(without) or 'the folder itself'}; say what is meant: {ADVICE}."
        )
    if deeper:
        parents = {folder.lower() for folder in folders}
        parts = deeper.split("/")
        at = next(i for i, part in enumerate(parts) if i > depth + 1 and part.lower() in ("train", "training"))
        parent = "/".join(parts[:at]).lower() + "/"
        siblings = {f[len(parent) :].split("/")[0] for f in parents if f.startswith(parent)}
        if any(_ROLES.get(name) in ("test", "val") for name in siblings):
            stars = "/".join([*parts[:depth], *["*"] * (at - depth)])
            splits = option({"train": f"{stars}/{parts[at]}", "test": f"{stars}/FOLDER"})
            raise UserError(
                f"{where}: there are splits deep in it, such as {'/'.join(parts[: at + 1])}; say so: {splits}, or -s "
                "data.source.splits=none if they are not."
            )
    return None


def _read_as(found: Mapping[str, str], where: str) -> str | None:
    renamed = [f"{shown_name(top)}/ is read as {role}" for role, top in found.items() if top.lower() != role]
    return f"{where}: {', '.join(renamed)}." if renamed else None


def _spare(tops: Mapping[str, int], found: Mapping[str, str], where: str) -> str | None:
    """Return a sentence about the files in none of the splits."""
    outside = Counter(
        {f"{top}/" if top else "no folder": num for top, num in tops.items() if top not in found.values()}
    )
    if not outside:
        return None
    used = " and ".join(f"{top}/" for top in found.values())
    spare = [top for top in tops if (role_of(top) or ("",))[0] == "spare"]
    advice = ""
    if spare:
        rest = {role: top for role, top in found.items() if role != "train"}
        advice = f"; to train on all: {option({'train': [found['train'], *spare], **rest})}"
    return f"{where}: {files(outside.total())} outside {used} are not used: {some(outside)}{advice}."


def _names(tops: Sequence[str]) -> str:
    return " and ".join(f"{shown_name(top)}/" for top in tops)
