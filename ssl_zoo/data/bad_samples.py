"""Samples that cannot be read: how they are reported, and how many are allowed."""

from __future__ import annotations

from typing import Literal

from ssl_zoo.errors import UserError, shown_name


class BadSample(UserError):
    """A sample that cannot be read. Code without a policy for such samples lets it reach the user.

    Attributes:
        name: the sample as its user knows it, such as a file name.
        reason: why it cannot be read.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return shown_name(f"cannot read {self.name}: {self.reason}.")


class BadData(UserError):
    """Samples that cannot be read, more than are allowed."""


class Budget:
    """A list of samples that could not be read, with a limit on their number.

    Args:
        num: samples in the split.
        on_error: `raise` allows none, `skip` allows the budget.
        bad_budget: the largest fraction of the split that may be bad, 0..1.

    Attributes:
        bad: name -> reason, in the order of reading.
    """

    def __init__(self, num: int, on_error: Literal["raise", "skip"], bad_budget: float) -> None:
        self.num, self.on_error, self.bad_budget = num, on_error, bad_budget
        self.bad: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Record a bad sample; the same one may be met again in a later epoch.

        Raises:
            BadData: no bad sample is allowed, or this is one too many.
        """
        self.bad[name] = reason
        if self.on_error == "raise":
            raise BadData(
                f"cannot read {name}: {reason}; correct or remove it, or set data.on_error=skip to leave it out."
            )
        allowed = int(self.num * self.bad_budget)
        if len(self.bad) > allowed:
            raise BadData(
                f"{len(self.bad)} of {self.num} samples cannot be read and data.bad_budget={self.bad_budget:g} allows "
                f"{allowed}{self.example()}; correct or remove them, or raise data.bad_budget."
            )

    def example(self) -> str:
        """Return ', for example NAME: REASON', or nothing where there is none."""
        for name, reason in self.bad.items():
            return f", for example {name}: {reason}"
        return ""
