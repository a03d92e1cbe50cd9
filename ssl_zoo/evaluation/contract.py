"""The contract of evaluation protocols."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.labels import Labels


class NotOffered(UserError):
    """The encoder or the data does not have what a protocol asks for; at the end of a run it is left out."""


class EvaluationProtocol(ABC):
    """A measure of a frozen encoder: the registered kind `protocol`. What it sees is computed once for all protocols.

    Attributes of the class, since they are needed before the protocol is built:

    Attributes:
        version: of what it computes; it is one more after every change that gives other numbers on the same features,
            and stands beside them, since numbers of different versions do not compare.
        needs_labels: whether it gets labelled samples only, and is left out where there are none.
        needs_train: whether it uses the samples of train; else they are not encoded for it where there is a test split.
        reads_more: whether its numbers depend on more than samples and encoder, such as on another run: those of
            baselines are then measured again for each run.
        sees: what it gets of the samples: `Features`, one vector of each (those of samples that are mappings are judged
            member by member, with keys MEMBER/PROTOCOL); `AugmentedViews`, features of several views of each, made as
            in training; `Tokens`, the features of places, of encoders that have them; `Aligned`, the members of samples
            that are mappings, of encoders that compare them; or `Subject`, the encoder itself. The raw input has
            features and views only.
        quality: its metrics that a verdict compares, as patterns such as `*_r1`: means over the test samples of numbers
            in 0..1, of which more is better. None where its metrics do not say how good an encoder is.
        bars: the representations that a verdict holds it against, of `raw` and `untrained`.
        stand_in: whether a verdict rests on it only where no other protocol has metrics of quality.
        guesses: of a classifier, after a call: the classes `(N,)` that it took the test samples for; a report shows
            what it confused. None of any other protocol.
    """

    version: int = 1
    quality: tuple[str, ...] = ("top1",)
    bars: tuple[str, ...] = ("raw", "untrained")
    stand_in: bool = False
    needs_labels: bool = True
    needs_train: bool = True
    reads_more: bool = False
    sees: type[Any] = Features
    guesses: Tensor | None = None

    @abstractmethod
    def __call__(self, train: Any, test: Any) -> dict[str, float]:
        """Return `{metric: value}`; what mere chance would give has the name `METRIC_chance`.

        Args:
            train: what a classifier may learn and choose from: an object of the class `sees`.
            test: what it is tested on, once: another one.
        """

    def notes(self, train: Tensor, labels: Labels) -> list[str]:
        """Return sentences for the user about labels, known before the protocol runs.

        Args:
            train: labels `(N,)` of the samples that classifiers learn from.
            labels: of both splits, with the names of the classes.
        """
        return []


def protocol_class(name: str) -> type[EvaluationProtocol]:
    """Return the class of a registered protocol.

    Raises:
        UserError: there is no such protocol.
        PartFailed: it does not keep the contract.
    """
    factory: object = registry.find("protocol", name)[0].factory
    if not isinstance(factory, type) or not issubclass(factory, EvaluationProtocol):
        raise registry.PartFailed(
            f"protocol {name!r}: must be a subclass of ssl_zoo.evaluation.contract.EvaluationProtocol."
        )
    return factory


def versions(names: Iterable[str]) -> dict[str, int]:
    """Return `{protocol: version}` of registered protocols, each once."""
    return {name: protocol_class(name).version for name in names}


def build_protocol(name: str, options: Mapping[str, Any]) -> EvaluationProtocol:
    """Return a registered protocol with options.

    Raises:
        UserError: an unknown protocol or option.
        PartFailed: it does not keep the contract.
    """
    protocol_class(name)
    return registry.build("protocol", name, options)
