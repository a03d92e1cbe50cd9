"""A source that does not keep its contract is one sentence, before anything is trained."""

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.data import MemorySplit
from ssl_zoo.data.open import build_source, split_of
from ssl_zoo.data.source import Modality
from ssl_zoo.errors import UserError
from tests.tiny import spec_of


@pytest.mark.parametrize(
    ("splits", "notes", "words"),
    [
        (None, (), "source 'mine': must have the attribute splits, a tuple: the names of its splits, train first."),
        (("train",), None, "source 'mine': must have the attribute notes, a tuple: sentences, or none."),
        (("test",), (), "source 'mine': its splits must include train."),
    ],
)
def test_a_source_without_what_is_asked_of_it(own_parts, splits, notes, words):
    @registry.register("source", "mine")
    class Mine:
        """Nothing."""

        def __init__(self):
            if splits is not None:
                self.splits = splits
            if notes is not None:
                self.notes = notes

    with pytest.raises(UserError) as caught:
        build_source("mine", {}, Modality(spec_of()))
    assert str(caught.value) == words


def test_a_split_of_another_class(own_parts):
    @registry.register("source", "mine")
    class Mine:
        """One split, and another that is none."""

        splits, notes = ("train", "test"), ()

        def split(self, name):
            return MemorySplit(torch.zeros(2, 1)) if name == "train" else [0, 1]

    source = build_source("mine", {}, Modality(spec_of()))
    assert len(split_of(source, "train")) == 2
    with pytest.raises(UserError, match=r"split 'test' is a list, which must be derived from ssl_zoo\.data\.source"):
        split_of(source, "test")
