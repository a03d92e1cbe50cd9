"""Protocol `zero_shot`: classes by their names, without a label to learn from (CLIP, arXiv 2103.00020, section 3.1)."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor

from ssl_zoo.evaluation.aligned import Aligned
from ssl_zoo.evaluation.contract import EvaluationProtocol, NotOffered
from ssl_zoo.evaluation.protocols.retrieval import nearest_is, similarities
from ssl_zoo.registry import register


def _with_place(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError(f"{template!r} needs one {{}}, where the name of the class goes")
    return template


Template = Annotated[str, AfterValidator(_with_place)]


@register("protocol", "zero_shot")
class ZeroShot(EvaluationProtocol):
    """Top-1 of naming the class of a member by another member that takes strings; no label is learnt from.

    The name of each class is put into the templates, in place of `{}`; the mean of the normalised embeddings of these
    strings is the class. A sample belongs to the class that is nearest by cosine to what the encoder predicts from it.
    Of classes equally near each counts as its share, so that constant embeddings reach chance.

    Args:
        templates: strings with one `{}`. Words of the training texts are what helps.
        of: the member whose class is named; by default the only other one.
        by: the member that takes strings; by default the only one that does.
    """

    needs_labels = True
    needs_train = False
    sees = Aligned

    def __init__(
        self,
        *,
        templates: Annotated[list[Template], Field(min_length=1)] = ["a photo of a {}"],  # noqa: B006
        of: str | None = None,
        by: str | None = None,
    ):
        self.templates, self.of, self.by = templates, of, by

    def members(self, samples: Aligned) -> tuple[str, str]:
        """Return the members `of` and `by`.

        Raises:
            NotOffered: they are not clear, or not there.
        """
        names = list(samples.z)
        by = self.by or _only([name for name in samples.readers if name != self.of], "by", "takes strings")
        of = self.of or _only([name for name in names if name != by], "of", "is left")
        for option, name, known in (("by", by, samples.readers), ("of", of, [each for each in names if each != by])):
            if name not in known:
                raise NotOffered(f"option {option}: {name!r} is none of {', '.join(known) or 'the members'}.")
        if (of, by) not in samples.p:
            raise NotOffered(f"{by} is not predicted from {of}")
        return of, by

    def classes(self, samples: Aligned, by: str) -> Tensor:
        """Return the embedding `(K, D)` of each class.

        Raises:
            NotOffered: classes have no names.
        """
        if samples.class_names is None or samples.read is None:
            raise NotOffered("classes need names, and the data has none")
        names = [name.replace("_", " ") for name in samples.class_names]
        read = [samples.read(by, [template.replace("{}", name) for name in names]) for template in self.templates]
        return torch.stack([F.normalize(z, dim=1) for z in read]).mean(dim=0)

    def __call__(self, train: Aligned, test: Aligned) -> dict[str, float]:
        """Return {"top1", "top1_chance"}, fractions."""
        of, by = self.members(test)
        classes = self.classes(test, by).to(test.p[of, by].device)
        y = test.labels
        hits = [
            nearest_is(cosines, y[start : start + len(cosines), None] == torch.arange(len(classes), device=y.device))
            for start, cosines in similarities(test.p[of, by], classes)
        ]
        return {"top1": torch.cat(hits).mean().item(), "top1_chance": 1 / len(classes)}


def _only(names: Sequence[str], option: str, what: str) -> str:
    """Return the only one of some members.

    Raises:
        NotOffered: there is none, or several.
    """
    if len(names) != 1:
        raise NotOffered(
            f"option {option}: name the member; "
            + (f"several could be meant: {', '.join(names)}." if names else f"none {what}.")
        )
    return names[0]
