"""First weights from another run, or from a file of torchvision, timm, lightly or a method's authors: `--init-from`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ssl_zoo.errors import UserError, describe_error, suggest
from ssl_zoo.methods.key_rules import UNWRAPPED, parts_in, plain_names
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
"""`.tar` for `.pth.tar`, as some of the authors' files are called: none is an archive."""


def initial_weights(
    source: str | Path, parts: Sequence[str], option: str = "--init-from"
) -> dict[str, dict[str, Tensor]]:
    """Read the weights of some components.

    Args:
        source: a run folder, or one of its checkpoints, such as `best.pt`; or a file with weights, as `.safetensors`
            or as saved by `torch.save` (`TORCH_SUFFIXES`): a state dict, alone or in a checkpoint. Its names may be
            those of torchvision, timm, lightly or a method's authors, see `ssl_zoo.methods.key_rules`.
        parts: the components to take.
        option: what the user named the source by, for messages.

    Returns:
        {component: {name: tensor}}; those of a file have the file's names.

    Raises:
        UserError: there is nothing to read, or a component that it does not hold.
    """
    path = Path(source)
    if path.is_dir():
        held = _of_run(path, option)
    elif not path.is_file():
        there = "is no regular file" if path.exists() else "there is no such file or folder"
        raise UserError(f"{option} {source}: {there}; give a run folder, a .safetensors file or a .pth file.")
    elif path.suffix == ".safetensors":
        held = _of_file(read_tensors(path))
    elif path.suffix == ".pt" and RunFolder(path.parent.parent).recipe.is_file():
        held = _of_checkpoint(path, option)
    elif path.suffix in TORCH_SUFFIXES:
        held = _of_file(_read_torch(path, option))
    else:
        known = ", ".join((".safetensors", *TORCH_SUFFIXES))
        raise UserError(f"{option} {source}: is neither a run folder nor a file of weights ({known}).")
    for part in parts:
        if not held.get(part):
            raise UserError(f"--init-part {part}: {source} holds no weights of the {part}{suggest(part, held)}")
    return {part: held[part] for part in parts}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a file of `--weights`, without what stands in front of all of its names.

    Args:
        path: `.safetensors`, or one of `TORCH_SUFFIXES`.

    Raises:
        UserError: there is none, or nothing that can be read.
    """
    return initial_weights(_a_file(path), ("encoder",), "--weights")["encoder"]


def _a_file(path: Path) -> Path:
    if path.is_dir():
        raise UserError(f"--weights {path}: is a folder; name a file, or evaluate a run by its folder alone.")
    return path


def _of_file(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return what a file may hold of each component: all of it, which the component's own names then sort."""
    state = plain_names(state)
    return {"encoder": state, **dict.fromkeys(sorted(parts_in(state) - {"encoder"}), state)}


def _of_run(path: Path, option: str) -> dict[str, dict[str, Tensor]]:
    last, product = path / "checkpoints" / "last.pt", path / "encoder.safetensors"
    if not last.is_file():
        if product.is_file():
            return {"encoder": read_tensors(product)}
        raise UserError(
            f"{option} {path}: is a folder without weights (neither checkpoints/last.pt nor encoder.safetensors)."
        )
    return _of_checkpoint(last, option)


def _of_checkpoint(path: Path, option: str) -> dict[str, dict[str, Tensor]]:
    state = checkpoint.load(path).get("method")
    if not _all_tensors(state):
        raise UserError(f"{option} {path}: its checkpoint holds no weights of a method.")
    held: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        held.setdefault(part, {})[rest] = value
    return held


def _all_tensors(state: Any) -> TypeGuard[dict[str, Tensor]]:
    return (
        isinstance(state, dict)
        and bool(state)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    )


def _read_torch(path: Path, option: str) -> dict[str, Tensor]:
    """Read the state dict in a file of `torch.save`; nothing in it is executed."""
    try:
        # Checkpoints hold the arguments of their program, which are plain values in a class of the standard library.
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes make torch's reader do
        if "GLOBAL " in str(error) or "Unsupported class" in str(error):
            raise UserError(
                f"{option} {path}: holds more than tensors and plain values ({_what(error)}), which is not read, "
                "since it could run anything; save the model's state_dict() alone where the file comes from."
            ) from None
        raise UserError(
            f"{option} {path}: is not a whole file of torch.save, or one of a kind that is not read; save it again, "
            f"or convert it to .safetensors ({describe_error(error)[:200]})."
        ) from None
    found = dict(_flat(state))
    if not found:
        raise UserError(
            f"{option} {path}: is no state dict ({{name: tensor}}), alone or in a checkpoint, such as under "
            "state_dict or model."
        )
    return found


def _what(error: Exception) -> str:
    """Return the name of the class that torch's reader refused."""
    found = re.search(r"(?:GLOBAL|Unsupported class) `?([\w.]+)", str(error))
    return found[1] if found else "a class"


def _flat(state: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a state dict, or of the state dicts in a checkpoint: the one that is meant, or all of them,
    with their keys in front."""
    if not isinstance(state, dict):
        return
    for key in UNWRAPPED:
        if _all_tensors(state.get(key)):
            yield from state[key].items()
            return
    for name, value in state.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            yield name, value
        elif isinstance(name, str) and _all_tensors(value):
            yield from ((f"{name}.{inner}", tensor) for inner, tensor in plain_names(value).items())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a `.safetensors` file onto the CPU.

    Raises:
        UserError: it is none, or was cut short.
    """
    from safetensors.torch import load_file

    with _readable(path):
        return load_file(path)


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Return {name: shape} of the tensors in a `.safetensors` file, without reading them.

    Raises:
        UserError: it is none, or was cut short.
    """
    from safetensors import safe_open

    with _readable(path), safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, ValueError, KeyError) as error:
        says = " ".join(str(error).split())
        raise UserError(f"{path}: is not a readable safetensors file: {says[:200]}.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None
