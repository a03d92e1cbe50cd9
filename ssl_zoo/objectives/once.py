"""Work on a target that several pairs share, done once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from torch import Tensor

KEPT = 8
"""Targets of one forward that are remembered: more than there are global views."""


class OncePerTarget:
    """A function of a target tensor that is computed when the target is first seen.

    Targets are told apart by identity, and a few of the latest are kept.

    Args:
        function: target -> tensor.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self._function = function
        self._known: deque[tuple[Tensor, Tensor]] = deque(maxlen=KEPT)

    def __call__(self, t: Tensor) -> Tensor:
        """Return the function's value for `t`."""
        for seen, value in self._known:
            if seen is t:
                return value
        value = self._function(t)
        self._known.append((t, value))
        return value

    def forget(self) -> None:
        """Let go of the targets."""
        self._known.clear()
