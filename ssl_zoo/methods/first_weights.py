"""First weights of a method from elsewhere: which of them match, and a report (`--init-from`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from ssl_zoo.errors import UserError


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
