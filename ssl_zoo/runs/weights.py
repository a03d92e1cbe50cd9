"""First weights from another run: `--init-from`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ssl_zoo.errors import UserError, describe_error, suggest
from ssl_zoo.runs import checkpoint
from ssl_zoo.runs.folder import RunFolder

TORCH_SUFFIXES = (".pth", ".pt", ".bin")


def initial_weights(source: str | Path, parts: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Read the weights of some components.

    Args:
        source: a run folder, or one of its checkpoints, such as `best.pt`; or a file with weights of an encoder, as
            `.safetensors` or as saved by `torch.save` (`.pth`, `.pt`, `.bin`): a state dict, alone or under
            `state_dict` or `model`.
        parts: the components to take.

    Returns:
        {component: {name: tensor}}.

    Raises:
        UserError: there is nothing to read, or a component that it does not hold.
    """
    path = Path(source)
    if path.is_dir():
        held = _of_run(path)
    elif not path.is_file():
        there = "is no regular file" if path.exists() else "there is no such file or folder"
        raise UserError(f"--init-from {source}: {there}; give a run folder, a .safetensors file or a .pth file.")
    elif path.suffix == ".safetensors":
        held = {"encoder": read_tensors(path)}
    elif path.suffix == ".pt" and RunFolder(path.parent.parent).recipe.is_file():
        held = _of_checkpoint(path)
    elif path.suffix in TORCH_SUFFIXES:
        held = {"encoder": _read_torch(path)}
    else:
        known = ", ".join((".safetensors", *TORCH_SUFFIXES))
        raise UserError(f"--init-from {source}: is neither a run folder nor a file of weights ({known}).")
    for part in parts:
        if not held.get(part):
            raise UserError(f"--init-part {part}: {source} holds no weights of the {part}{suggest(part, held)}")
    return {part: held[part] for part in parts}


def _of_run(path: Path) -> dict[str, dict[str, Tensor]]:
    last, product = path / "checkpoints" / "last.pt", path / "encoder.safetensors"
    if not last.is_file():
        if product.is_file():
            return {"encoder": read_tensors(product)}
        raise UserError(
            f"--init-from {path}: is a folder without weights (neither checkpoints/last.pt nor encoder.safetensors)."
        )
    return _of_checkpoint(last)


def _of_checkpoint(path: Path) -> dict[str, dict[str, Tensor]]:
    state = checkpoint.load(path).get("method")
    if not _all_tensors(state):
        raise UserError(f"--init-from {path}: its checkpoint holds no weights of a method.")
    held: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        held.setdefault(part, {})[rest] = value
    return held


def _all_tensors(state: Any) -> TypeGuard[dict[str, Tensor]]:
    return isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())


def _read_torch(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a file of `torch.save`; nothing in it is executed."""
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(
                f"--init-from {path}: is not a whole file of torch.save (of torch 1.6 or later); save it again, or "
                "convert it to .safetensors."
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # whatever the bytes make torch's reader do
        if "weights_only" in str(error):
            raise UserError(
                f"--init-from {path}: holds more than tensors and plain values, which is not read; save the model's "
                "state_dict() alone."
            ) from None
        raise UserError(f"--init-from {path}: cannot be read: {describe_error(error)}.") from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not _all_tensors(state):
        raise UserError(f"--init-from {path}: is no state dict ({{name: tensor}}), alone or under state_dict or model.")
    return dict(state)


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
