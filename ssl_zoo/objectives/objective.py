"""The objective: a list of weighted terms, computed in float32 outside autocast.

A term is a module that returns a scalar. Its attribute `takes` says what it is called with: `pair`, each (p, t) of the
pairing; `set`, the list of z of all views; `globals`, the list of z of the global views.

A term is a formula of the whole batch. With several processes the objective gathers their batches before a term sees
them, so that a term cannot be right on one process and wrong on many. A term that is a mean over samples says
`per_sample = True` and gets the process's own samples: the average over processes is then the same.

A pair term that is a distance in the units of z says `shrinks = True`: embeddings that shrink to one point solve it
with their directions untouched. Where all pair terms do, the collapse guard judges the scale of z too.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ssl_zoo.batch import Pairs, View
from ssl_zoo.distributed import collectives


class Term(Protocol):
    """What a term is: see the head of this file. A term without `per_sample` sees the batch of all processes."""

    takes: Literal["pair", "set", "globals"]

    def __call__(self, *embeddings: Tensor | Sequence[Tensor]) -> Tensor:
        """Return a scalar."""


def _full(x: Tensor) -> Tensor:
    """Half precision becomes float32; float64 stays, so that gradients can be checked."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class Objective(nn.Module):
    """Weighted sum of terms.

    Args:
        terms: (name, weight, term) of each; a name that comes twice gets a number.
    """

    def __init__(self, terms: Sequence[tuple[str, float, nn.Module]]):
        super().__init__()
        self.terms = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        for name, weight, term in terms:
            same = sum(key.rpartition("_")[0] == name or key == name for key in self.weights)
            key = f"{name}_{same + 1}" if same else name
            self.terms[key] = term
            self.weights[key] = weight

    @property
    def shrinks(self) -> bool:
        """Whether embeddings that shrink to one point solve all that pulls views together (weight 0 does not count)."""
        pulls = [term for key, term in self.terms.items() if self.weights[key] and term.takes == "pair"]
        return bool(pulls) and all(getattr(term, "shrinks", False) for term in pulls)

    def forward(self, pairs: Pairs, z: Sequence[Tensor], views: Sequence[View]) -> dict[str, Tensor]:
        """Return {name: weighted scalar}; the loss is their sum.

        Args:
            pairs: what the pairing chose, each p and t `(B, D)`.
            z: embeddings of all views, each `(B, D)`.
            views: the views that they are of, for their roles.
        """
        with torch.autocast(z[0].device.type, enabled=False):
            own = _Memo(_full)
            whole = _Memo(lambda x: collectives.gather(own(x)))
            values = {}
            for name, term in self.terms.items():
                see = own if getattr(term, "per_sample", False) else whole
                if term.takes == "pair":
                    value = pairs.scale * sum(term(see(p), see(t)) for p, t in pairs.pairs)
                else:
                    chosen = [x for x, v in zip(z, views, strict=True) if term.takes == "set" or v.is_target]
                    value = term([see(x) for x in chosen])
                values[name] = self.weights[name] * value
            return values


class _Memo:
    """A function of a tensor that is computed once for each tensor: pairs share theirs."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self._function = function
        self._known: dict[int, tuple[Tensor, Tensor]] = {}  # the argument is kept, so that its id stays its own

    def __call__(self, x: Tensor) -> Tensor:
        if id(x) not in self._known:
            self._known[id(x)] = (x, self._function(x))
        return self._known[id(x)][1]
