"""The objective: a list of weighted terms, computed in float32 outside autocast.

A term is a formula of the whole batch. With several processes the objective gathers their batches before a term sees
them, so that a term cannot be right on one process and wrong on many. A term that is a mean over samples is marked
so (`Term.per_sample`) and gets the process's own samples: the average over processes is then the same.
"""

import operator
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import get_args

import torch
from torch import Tensor, nn

from ssl_zoo.batch import Pairs, View
from ssl_zoo.distributed import collectives
from ssl_zoo.objectives.seen import Seen
from ssl_zoo.parts import Inputs, Memo, Term
from ssl_zoo.registry import PartFailed


class Objective(nn.Module):
    """Weighted sum of terms.

    Args:
        terms: (name, weight, term) of each; a name that comes twice gets a number.

    Raises:
        PartFailed: a module that is no `Term`, or a term without `inputs`.
    """

    def __init__(self, terms: Sequence[tuple[str, float, Term]]):
        super().__init__()
        self.terms = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        for name, weight, term in terms:
            _check(name, term)
            same = sum(key.rpartition("_")[0] == name or key == name for key in self.weights)
            key = f"{name}_{same + 1}" if same else name
            self.terms[key] = term
            self.weights[key] = weight
        self._memos = [module for module in self.modules() if isinstance(module, Memo)]

    @property
    def shrinks(self) -> bool:
        """Whether embeddings that shrink to one point solve all that pulls views together (weight 0 does not count)."""
        pulls = [term for key, term in self._each() if self.weights[key] and term.inputs == "pair"]
        return bool(pulls) and all(term.shrinks for term in pulls)

    @property
    def cluster_temperature(self) -> float | None:
        """The temperature of the first term's softmax, of those that have one (weight 0 does not count), or None."""
        found = [term.cluster_temperature for key, term in self._each() if self.weights[key]]
        return next((value for value in found if value is not None), None)

    def _each(self) -> Iterator[tuple[str, Term]]:
        for name, term in self.terms.items():
            assert isinstance(term, Term)
            yield name, term

    def forward(self, pairs: Pairs, z: Sequence[Tensor], views: Sequence[View]) -> dict[str, Tensor]:
        """Return {name: weighted scalar}; the loss is their sum.

        Args:
            pairs: what the pairing chose, each p and t `(B, D)`.
            z: embeddings of all views, each `(B, D)`.
            views: the views that they are of, for their roles.
        """
        with torch.autocast(z[0].device.type, enabled=False), collectives.whole_batches():
            own, whole = Seen(whole=False), Seen(whole=True)
            values = {}
            for name, term in self._each():
                see = own if term.per_sample else whole
                if term.inputs == "pair":
                    value = pairs.scale * _over_pairs(term, pairs.pairs, see)
                else:
                    chosen = [x for x, v in zip(z, views, strict=True) if term.inputs == "set" or v.is_target]
                    value = term(see.all(chosen) if term.batched else [see.one(x) for x in chosen])
                values[name] = self.weights[name] * value
            for memo in self._memos:
                memo.advance()
            return values


def _over_pairs(term: Term, pairs: Sequence[tuple[Tensor, Tensor]], see: Seen) -> Tensor:
    """Return the sum of a term over pairs, which it sees all at once if it can."""
    together = see.pairs(pairs) if term.batched else None
    values = [term(see.one(p), see.one(t)) for p, t in pairs] if together is None else list(term(*together).unbind())
    return reduce(operator.add, values)


def _check(name: str, term: Term) -> None:
    if not isinstance(term, Term):
        raise PartFailed(
            f"term {name!r}: is a {type(term).__name__}, and must be a ssl_zoo.parts.Term; derive its class."
        )
    known = get_args(Inputs)
    if getattr(term, "inputs", None) not in known:
        words = " | ".join(map(repr, known))
        raise PartFailed(f"term {name!r}: its class must state what it is called with: inputs = {words}.")
