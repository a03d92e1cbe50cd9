"""Zero-shot classes: names in templates, members that are found or named, and chance for constant embeddings."""

import pytest
import torch
import torch.nn.functional as F

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.evaluation.aligned import Aligned
from ssl_zoo.evaluation.protocols.zero_shot import ZeroShot

NAMES = ["big_cat", "dog", "emu"]
Y = torch.tensor([0, 1, 2, 2, 1])


class Reader:
    """Embeds strings by the class that they name; an unknown string is no direction at all."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[str]]] = []

    def __call__(self, member, strings):
        self.seen.append((member, list(strings)))
        names = [name.replace("_", " ") for name in NAMES]
        return torch.stack([sum(torch.eye(3)[i] for i, name in enumerate(names) if name in each) for each in strings])


def aligned(p: torch.Tensor, read=None, names=NAMES, readers=("words",)) -> Aligned:
    z = {"sketch": p, "words": p}
    return Aligned(z, {("sketch", "words"): p, ("words", "sketch"): p}, Y, names, readers, read or Reader())


def test_the_class_is_the_name_that_is_nearest() -> None:
    p = F.one_hot(Y, 3).float()
    p[0] = torch.tensor([0.0, 2.0, 1.0])  # nearer to the dog
    read = Reader()
    assert ZeroShot(templates=["a {} here", "{}"])(None, aligned(p, read)) == {
        "top1": pytest.approx(4 / 5), "top1_chance": pytest.approx(1 / 3),
    }  # fmt: skip
    assert read.seen == [
        ("words", ["a big cat here", "a dog here", "a emu here"]), ("words", ["big cat", "dog", "emu"]),
    ]  # fmt: skip


def test_constant_embeddings_reach_chance() -> None:
    def read(member, strings):
        return torch.ones(len(strings), 3)

    assert ZeroShot()(None, aligned(torch.ones(5, 3), read))["top1"] == pytest.approx(1 / 3)


def test_members_that_are_not_clear_are_to_be_named() -> None:
    p = F.one_hot(Y, 3).float()
    for options, readers, message in [
        ({}, (), "by: name the member; none takes strings"),
        ({}, ("sketch", "words"), "by: name the member; several could be meant: sketch, words"),
        ({"by": "sketch"}, ("words",), "by: 'sketch' is none of words"),
        ({"of": "sound"}, ("words",), "of: 'sound' is none of sketch"),
    ]:
        with pytest.raises(UserError, match=message):
            ZeroShot(**options)(None, aligned(p, readers=readers))
    assert ZeroShot(of="words")(None, aligned(p, readers=("sketch", "words")))["top1"] == 1.0


def test_classes_without_names_and_templates_without_a_place_are_refused() -> None:
    with pytest.raises(UserError, match="classes need names"):
        ZeroShot()(None, aligned(torch.ones(5, 3), names=None))
    with pytest.raises(UserError, match=r"templates.*needs one \{\}"):
        registry.build("protocol", "zero_shot", {"templates": ["a photo"]})
