"""First weights from another run: `--init-from`."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError, describe_error, suggest
from ssl_zoo.runs import checkpoint

COMPONENTS = ("encoder", "projector", "predictor")
TORCH_SUFFIXES = (".pth", ".pt", ".bin")


def initial_weights(source: str | Path, parts: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Read the weights of some components.

    Args:
        source: a run folder; or a file with weights of an encoder, as `.safetensors` or as saved by `torch.save`
            (`.pth`, `.pt`, `.bin`): a state dict, alone or under `state_dict` or `model`.
        parts: the components to take.

    Returns:
        {component: {name: tensor}}.

    Raises:
        UserError: there is nothing to read, or a component that it does not hold.
    """
    path = Path(source)
    for part in parts:
        if part not in COMPONENTS:
            raise UserError(f"--init-part {part}: is no component{suggest(part, COMPONENTS)}")
    if path.is_dir():
        held = _of_run(path)
    elif not path.is_file():
        there = "is no regular file" if path.exists() else "there is no such file or folder"
        raise UserError(f"--init-from {source}: {there}; give a run folder, a .safetensors file or a .pth file.")
    elif path.suffix == ".safetensors":
        held = {"encoder": read_tensors(path)}
    elif path.suffix in TORCH_SUFFIXES:
        held = {"encoder": _read_torch(path)}
    else:
        known = ", ".join((".safetensors", *TORCH_SUFFIXES))
        raise UserError(f"--init-from {source}: is neither a run folder nor a file of weights ({known}).")
    for part in parts:
        if not held.get(part):
            raise UserError(f"--init-from {source}: holds no weights of the {part}.")
    return {part: held[part] for part in parts}


def _of_run(path: Path) -> dict[str, dict[str, Tensor]]:
    last, product = path / "checkpoints" / "last.pt", path / "encoder.safetensors"
    if not last.is_file():
        if product.is_file():
            return {"encoder": read_tensors(product)}
        raise UserError(
            f"--init-from {path}: is a folder without weights (neither checkpoints/last.pt nor encoder.safetensors)."
        )
    state = checkpoint.load(last).get("method")
    if not _all_tensors(state):
        raise UserError(f"--init-from {path}: its checkpoint holds no weights of a method.")
    return {
        part: {name.partition(".")[2]: value for name, value in state.items() if name.startswith(part + ".")}
        for part in COMPONENTS
    }


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


def _named(module: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights under the names that a component has now, where it had others in older runs."""
    own_names: Callable[..., dict[str, Tensor]] | None = getattr(module, "own_names", None)
    return weights if own_names is None else own_names(weights)


def matching(module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that a component has by the same name and shape."""
    own = module.state_dict()
    given = _named(module, weights).items()
    return {name: value for name, value in given if name in own and own[name].shape == value.shape}


def put_weights(module: nn.Module, weights: Mapping[str, Tensor], part: str) -> None:
    """Copy the weights that match a component by name and shape; the others keep their first values.

    Raises:
        UserError: none matches, or some that do are not finite.
    """
    taken = matching(module, weights)
    # A scalar matches any other (BatchNorm's counter of batches): it says nothing about where the weights belong.
    if not any(value.dim() for value in taken.values()):
        own = module.state_dict()
        other = sum(name in own for name in _named(module, weights)) - len(taken)
        shapes = f" ({other} have the name and another shape)" if other else ""
        raise UserError(
            f"--init-from: none of its {len(weights)} {part} tensors matches one of the {len(own)} of "
            f"this recipe's {part} by name and shape{shapes}; nothing would be taken over."
        )
    broken = [name for name, value in taken.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise UserError(
            f"--init-from: {len(broken)} of its {part} tensors are not finite (nan or inf), for example {broken[0]}; "
            "that training diverged."
        )
    module.load_state_dict(taken, strict=False)


def report(method: nn.Module, weights: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """Return a line a component: how many tensors were taken, and which were not and why."""
    lines = []
    for part, given in weights.items():
        module = method.get_submodule(part)
        own, named, taken = module.state_dict(), _named(module, given), matching(module, given)
        reasons = {
            "of another shape": sorted(name for name in named if name in own and name not in taken),
            f"that this {part} does not have": sorted(set(named) - set(own)),
            "that were not given": sorted(set(own) - set(named)),
        }
        rest = "".join(f"; {len(names)} {why}: {_some(names)}" for why, names in reasons.items() if names)
        lines.append(f"--init-from: {part}: {len(taken)} of {len(own)} tensors taken{rest}")
    return lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
