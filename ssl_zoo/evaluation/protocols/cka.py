"""Protocol `cka`: how alike the features of an encoder and of the encoder of another run are."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ssl_zoo.batch import View, encode
from ssl_zoo.evaluation.contract import EvaluationProtocol
from ssl_zoo.evaluation.evaluate import check_input
from ssl_zoo.evaluation.features import by_name, chosen, mean_over
from ssl_zoo.evaluation.label_free import linear_cka
from ssl_zoo.evaluation.subject import Subject
from ssl_zoo.registry import register
from ssl_zoo.runs.card import read_card
from ssl_zoo.runs.encoder import read_encoder
from ssl_zoo.runs.encoder_files import find_files

SAMPLES = 10_000


@register("protocol", "cka")
class CKA(EvaluationProtocol):
    """Linear CKA with the encoder of another run, on the same test samples, without labels.

    1 is the same up to a rotation and a scale. It says how alike two encoders are, not which is better; widths and
    methods may differ. At most 10,000 samples are used.

    Args:
        reference: folder of the other run, whose encoder takes the same samples.
    """

    needs_labels = False
    needs_train = False
    reads_more = True
    sees = Subject

    def __init__(self, *, reference: str):
        self.reference = Path(reference)

    def __call__(self, train: Subject, test: Subject) -> dict[str, float]:
        """Return {"cka"}, of samples that are mappings {"MEMBER_cka"} for each.

        Raises:
            UserError: there is no such run, or its encoder does not take the samples.
        """
        other = read_encoder(self.reference)
        check_input(read_card(find_files(self.reference).card).spec, test.policy.spec, other, str(self.reference))
        some = test.take(chosen(len(test), SAMPLES))
        own = _features(some, some.encoder)
        others = _features(Subject(other, some.policy, some.split, some.index, some.device, some.half), other)
        if len(own) == 1:
            return {"cka": linear_cka(*own.values(), *others.values())}
        return {f"{name}_cka": linear_cka(own[name], others[name]) for name in own}


def _features(subject: Subject, encoder: nn.Module) -> Mapping[str, Tensor]:
    """Return h `(N, D)` of each member."""
    embed: Callable[[View], Any] = partial(encode, encoder)
    found, _ = subject.collect(lambda views: {name: mean_over(each, embed) for name, each in by_name(views).items()})
    return found
