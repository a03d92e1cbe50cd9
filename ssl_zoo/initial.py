"""First weights from another run: `--init-from`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from ssl_zoo import checkpoint
from ssl_zoo.errors import UserError, suggest

COMPONENTS = ("encoder", "projector", "predictor")


def initial_weights(source: str | Path, parts: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Read the weights of some components.

    Args:
        source: a run folder, or an `encoder.safetensors`, which holds the encoder only.
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
    if path.suffix == ".safetensors" and path.is_file():
        held = {"encoder": read_tensors(path)}
    elif (path / "checkpoints" / "last.pt").is_file():
        state = checkpoint.load(path / "checkpoints" / "last.pt")["method"]
        held = {
            part: {name.partition(".")[2]: value for name, value in state.items() if name.startswith(part + ".")}
            for part in COMPONENTS
        }
    else:
        raise UserError(f"--init-from {source}: is neither a run folder with a checkpoint nor a .safetensors file.")
    for part in parts:
        if not held.get(part):
            raise UserError(f"--init-from {source}: holds no weights of the {part}.")
    return {part: held[part] for part in parts}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a `.safetensors` file onto the CPU.

    Raises:
        UserError: it is none, or was cut short.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: is not a readable safetensors file: {error}.") from None


def matching(module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that a component has by the same name and shape."""
    own = module.state_dict()
    return {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}


def put_weights(module: nn.Module, weights: Mapping[str, Tensor], part: str) -> None:
    """Copy the weights that match a component by name and shape; the others keep their first values.

    Raises:
        UserError: none matches.
    """
    taken = matching(module, weights)
    # A scalar matches any other (BatchNorm's counter of batches): it says nothing about where the weights belong.
    if not any(value.dim() for value in taken.values()):
        raise UserError(
            f"--init-from: none of its {len(weights)} {part} tensors matches one of the {len(module.state_dict())} of "
            f"this recipe's {part} by name and shape; nothing would be taken over."
        )
    module.load_state_dict(taken, strict=False)


def report(method: nn.Module, weights: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """Return a line a component: how many tensors were taken, and which were not."""
    lines = []
    for part, given in weights.items():
        module = method.get_submodule(part)
        taken = matching(module, given)
        left = sorted((set(given) | set(module.state_dict())) - set(taken))
        rest = f"; not matched: {', '.join(left)}" if left else ""
        lines.append(f"--init-from: {part}: {len(taken)} of {len(module.state_dict())} tensors taken{rest}")
    return lines
