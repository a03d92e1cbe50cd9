"""First weights of a method from elsewhere: which of them match, and a report (`--init-from`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from ssl_zoo.errors import UserError
from ssl_zoo.methods.key_rules import Reading, readings


def _renamed(module: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights under the names that a component has now, where it had others in older runs."""
    own_names: Callable[..., dict[str, Tensor]] | None = getattr(module, "own_names", None)
    return weights if own_names is None else own_names(weights)


def read_as(module: nn.Module, weights: Mapping[str, Tensor], part: str) -> Reading:
    """Return weights under the names of a component: by the rule by which most of them match, the first of equals.

    Args:
        module: the component.
        weights: `{name: tensor}` of a run or of another's file.
        part: its name: `encoder`, `projector` or `predictor`.
    """
    own = {name: value.shape for name, value in module.state_dict().items()}
    best, most = Reading("", dict(_renamed(module, weights))), -1
    for reading in readings(part, weights):
        named = _renamed(module, reading.weights)
        num = sum(own.get(name) == value.shape and value.ndim > 0 for name, value in named.items())
        if num > most:
            best, most = Reading(reading.how, dict(named)), num
    return best


def matching(module: nn.Module, weights: Mapping[str, Tensor], part: str = "encoder") -> dict[str, Tensor]:
    """Return the weights that a component has by the same name and shape."""
    own = module.state_dict()
    given = read_as(module, weights, part).weights.items()
    return {name: value for name, value in given if name in own and own[name].shape == value.shape}


def put_weights(module: nn.Module, weights: Mapping[str, Tensor], part: str, where: str = "--init-from") -> None:
    """Copy the weights that match a component by name and shape; the others keep their first values.

    Messages call the weights `where`.

    Raises:
        UserError: none matches, or some that do are not finite.
    """
    taken = matching(module, weights, part)
    # A scalar matches any other (BatchNorm's counter of batches): it says nothing about where the weights belong.
    if not any(value.dim() for value in taken.values()):
        raise UserError(f"{where}: {_no_match(module, weights, part)}")
    broken = [name for name, value in taken.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise UserError(
            f"{where}: {len(broken)} of its {part} tensors are not finite (nan or inf), for example {broken[0]}; "
            "that training diverged."
        )
    module.load_state_dict(taken, strict=False)


def _no_match(module: nn.Module, weights: Mapping[str, Tensor], part: str) -> str:
    """Return why nothing is taken over, with the nearest names."""
    own, given = module.state_dict(), read_as(module, weights, part).weights
    shapes = [name for name in given if name in own and own[name].ndim > 0]
    if shapes:
        near = f" ({len(shapes)} have the name and another shape: {_difference(shapes[0], given, own)})"
    else:
        near = _nearest(own, given)
    return (
        f"none of its {len(weights)} {part} tensors matches one of the {len(own)} of "
        f"this recipe's {part} by name and shape{near}; nothing would be taken over."
    )


def _nearest(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Return the two names, one of each side, that have the longest end in common."""
    ends = {name: name.split(".")[::-1] for name in given}
    best, most = None, 0
    for name, value in own.items():
        if value.ndim == 0:
            continue
        parts = name.split(".")[::-1]
        for other, end in ends.items():
            common = next((i for i, (a, b) in enumerate(zip(parts, end, strict=False)) if a != b), None)
            length = min(len(parts), len(end)) if common is None else common
            if length > most:
                best, most = (other, name), length
    if best is None:
        first = next(iter(given), "")
        return f" (it has {first}, this {next(iter(own), 'nothing')})"
    return f" (nearest: its {best[0]}, here {best[1]})"


def differences(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Return a phrase for each name that both sides have at other shapes: `conv1.weight is 64x3x7x7, here 64x3x3x3`."""
    both = sorted(name for name in given if name in own and given[name].shape != own[name].shape)
    return [_difference(name, given, own) for name in both]


def _difference(name: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return f"{name} is {_shape(given[name])}, here {_shape(own[name])}"


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a scalar"


def report(method: nn.Module, weights: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """Return a line a component: how many tensors were taken, and which were not and why."""
    return [line for part, given in weights.items() for line in report_of(method.get_submodule(part), given, part)]


def report_of(module: nn.Module, given: Mapping[str, Tensor], part: str, where: str = "--init-from") -> list[str]:
    """Return the line of one component, and one on a first layer that does not fit."""
    own, reading = module.state_dict(), read_as(module, given, part)
    named, taken = reading.weights, matching(module, given, part)
    other = sorted(name for name in named if name in own and name not in taken)
    reasons = {
        "of another shape": differences(named, own),
        f"that this {part} does not have": sorted(set(named) - set(own)),
        "that were not given": sorted(set(own) - set(named)),
    }
    rest = "".join(f"; {len(names)} {why}: {_some(names)}" for why, names in reasons.items() if names)
    how = f" ({reading.how})" if reading.how else ""
    lines = [f"{where}: {part}: {len(taken)} of {len(own)} tensors taken{how}{rest}"]
    first = next((name for name, value in own.items() if value.ndim > 1), None)
    if part == "encoder" and first in other:
        lines.append(
            f"{where}: the first layer, {first}, does not fit and keeps its random values: the file is of another "
            "stem or of other channels, and its features will not be the file's until they are trained again"
        )
    return lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
