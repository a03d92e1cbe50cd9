"""Strings in one buffer, samples that cannot be read, and how many of those are allowed."""

import pickle
import tracemalloc

import pytest
import torch

from ssl_zoo.data import BadSample, MemorySplit, Split, Strings
from ssl_zoo.data.bad_samples import Budget
from ssl_zoo.errors import UserError


def test_strings_are_a_sequence():
    words = ["a.png", "", "ümlaut/日本.jpg", "b" * 300, "undecodable\udcff.png"]
    strings = Strings(iter(words))
    assert len(strings) == 5 and list(strings) == words
    assert [strings[i] for i in range(-5, 5)] == words + words
    assert "a.png" in strings and strings.index("") == 1
    with pytest.raises(IndexError):
        strings[5]
    assert list(Strings([])) == []


def test_a_hundred_thousand_paths_are_two_objects_and_reading_them_keeps_nothing():  # T39
    num = 100_000
    strings = Strings(f"train/class_{i % 10}/image_{i:08d}.jpg" for i in range(num))
    size = sum(len(strings[i]) for i in (0, 1)) // 2
    assert len(pickle.dumps(strings)) < num * (size + 8) + 1000
    again = pickle.loads(pickle.dumps(strings))
    assert again[num - 1] == strings[num - 1] == f"train/class_9/image_{num - 1:08d}.jpg"
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(num):
        strings[i]
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert kept < 10_000


def test_a_bad_sample_is_a_sentence_and_survives_the_way_from_a_worker():
    bad = pickle.loads(pickle.dumps(BadSample("a.png", "the file is empty")))
    assert (bad.name, bad.reason) == ("a.png", "the file is empty")
    assert str(bad) == "cannot read a.png: the file is empty." and isinstance(bad, UserError)


def test_budget_counts_samples_not_meetings():
    budget = Budget(1000, "skip", 0.002)
    for _ in range(5):
        budget.add("a", "broken")
        budget.add("b", "empty")
    assert budget.bad == {"a": "broken", "b": "empty"}
    with pytest.raises(UserError, match=r"3 of 1000 samples .* data.bad_budget=0.002 allows 2, for example a"):
        budget.add("c", "broken")


def test_memory_split_is_a_split():
    assert isinstance(MemorySplit(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)), Split)
