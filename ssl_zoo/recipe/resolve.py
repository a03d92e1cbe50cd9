"""From what a user types after `--data` to the part of a recipe that names a source."""

from __future__ import annotations

from pathlib import Path

from ssl_zoo import registry
from ssl_zoo.errors import UserError, suggest


def resolve(text: str) -> dict[str, str]:
    """Return the source that a text means, as a recipe writes it.

    Args:
        text: a registered name (`digits`, `torchvision/CIFAR10`), or the path of a file or folder, for which the source
            that recognises it is found. A name wins over a path; `./digits` is the path.

    Returns:
        `{"name": ...}`, with `"path"` for a path.

    Raises:
        UserError: neither a name nor a path, or a path that no source reads.
    """
    path = Path(text).expanduser()
    names = registry.names("source")
    family = any(name.endswith("/*") and text.startswith(name[:-1]) for name in names)
    if text in names or (family and not path.exists()):
        registry.find("source", text)
        return {"name": text}
    if not path.exists():
        raise UserError(f"--data {text}: no such file or folder, and no source of that name{suggest(text, names)}")
    readers = {entry.name: getattr(entry.factory, "matches", None) for entry in registry.entries("source")}
    for name, matches in readers.items():
        if matches is not None and matches(path):
            return {"name": name, "path": str(path)}
    known = ", ".join(name for name, matches in readers.items() if matches is not None)
    raise UserError(f"--data {text}: no source reads such a file; those that read paths are: {known}.")
