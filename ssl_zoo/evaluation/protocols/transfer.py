"""Protocol `transfer`: the frozen encoder probed on other data sets than it was trained on."""

from typing import Annotated

from pydantic import Field

from ssl_zoo.data.open import OpenData, open_data
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.contract import EvaluationProtocol, NotOffered, protocol_class
from ssl_zoo.evaluation.features import Features
from ssl_zoo.evaluation.representations import evaluate_features
from ssl_zoo.evaluation.seen import EvaluationData
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.recipe.part import Part, Protocols, Source, check_data_name, default_part
from ssl_zoo.registry import register


def probes() -> tuple[Part, ...]:
    """Return the protocols that are run by default."""
    return default_part("protocol", "knn"), default_part("protocol", "linear")


@register("protocol", "transfer")
class Transfer(EvaluationProtocol):
    """kNN and a linear probe, or other protocols on features, on each of some other data sets.

    Of the run's own samples none is used. Each data set is divided as the run's own would be: its test split, or a
    fifth of its labelled samples. The metrics are called `DATA_SET_PROTOCOL_METRIC`. Samples are of the modality of the
    run, and read by its view policy, which brings samples to the size that the encoder takes.

    Args:
        data: `{NAME: SOURCE}`, sources as in `data.source`: a registered name, a path, or a mapping with options.
        protocols: what is run on each; those that see features.
    """

    needs_labels = False
    needs_train = False
    quality = ()  # of other test samples than the run's, whose number the metrics do not tell
    reads_more = True
    sees = Subject

    def __init__(
        self,
        *,
        data: dict[str, Source] = {},  # noqa: B006
        protocols: Annotated[Protocols, Field(min_length=1)] = Field(default_factory=probes),  # noqa: B008
    ):
        for name in data:
            try:
                check_data_name(name)
            except ValueError as error:
                raise UserError(f"protocol 'transfer': {error}.") from None
        for part in protocols:
            if protocol_class(part.name).sees is not Features:
                raise UserError(f"protocol 'transfer': protocols: {part.name!r} sees more than features; leave it out.")
        self.data, self.protocols = data, protocols

    def __call__(self, train: Subject, test: Subject) -> dict[str, float]:
        """Return the metrics of each data set, see the class.

        Raises:
            NotOffered: no data set is named, or samples are mappings.
            UserError: data that cannot be read, or that a protocol cannot use.
        """
        if not self.data:
            raise NotOffered("its option data names no data set; add -s evaluation.protocols.transfer.data.NAME=SOURCE")
        if test.policy.spec.members or test.modality is None:
            raise NotOffered("it needs samples of one modality, and these are mappings of several")
        metrics: dict[str, float] = {}
        for name, source in self.data.items():
            try:
                opened = open_data(source, test.modality)
                results = self._measured(test, opened)
            except UserError as error:
                raise UserError(f"transfer to {name}: {error}") from error
            metrics |= {
                f"{name}_{key}_{metric}": value for key, found in results.items() for metric, value in found.items()
            }
        return metrics

    def _measured(self, subject: Subject, opened: OpenData) -> dict[str, dict[str, float]]:
        """Return `{protocol: {metric: value}}` of the encoder on a data set."""
        samples = EvaluationData(
            subject.policy, opened.modality, opened.train, opened.test, subject.device, subject.limit, subject.half
        )
        train, test = (
            None if split is None or not len(split) else samples.seen(subject.encoder, Features, split, _ignore)[""]
            for split in (opened.train, opened.test)
        )
        return evaluate_features(train, test, [(part.name, part.options) for part in self.protocols])


def _ignore(line: str) -> None:
    """Features of a data set are taken whole, so that there is nothing to tell."""
