"""The views of texts, compared with plain Python per sample."""

import copy
import math
import pickle
import re

import pytest
import torch

from ssl_zoo import registry
from ssl_zoo.errors import UserError
from ssl_zoo.modalities.text.tokenizers import Bytes
from ssl_zoo.modalities.text.views.spans import chosen
from ssl_zoo.rng import generator
from tests.modalities.text.sort import SENTENCES, texts

LENGTH = 24


def spans(**options):
    return registry.build("views", "spans", {"length": LENGTH, **options})


def made(policy, samples, seed: int = 0):
    return policy(policy.collate(samples, policy.draw(generator(seed, "views"), len(samples))))


def by_hand(policy, sample, params, i: int, v: int, options) -> list[int]:
    """Return the token ids of view `v` of sample `i`, written from the documentation."""
    left = list(range(len(sample)))
    for number in params["text"][i, : v + 1].tolist():
        if not left or not options["distinct"]:
            left = list(range(len(sample)))
        text = left.pop(int(number * len(left)))
    ids = Bytes().encode(sample[text]).tolist()
    extent, place = params["span"][i, v].tolist()
    low, high = options["scale"]
    num = max(1, round((low + (high - low) * extent) * min(len(ids), LENGTH)))
    start = int(place * (len(ids) - num + 1))
    ids = ids[start : start + num]
    drop, mask, move = (params[name][i, v].tolist() for name in ("drop", "mask", "move"))
    ids = [257 if mask[k] < options["mask"] else token for k, token in enumerate(ids)]
    stays = max(range(num), key=lambda k: drop[k])
    ids = [token for k, token in enumerate(ids) if drop[k] >= options["drop"] or k == stays]
    if options["move"]:
        order = sorted(range(len(ids)), key=lambda k: k + (options["move"] + 1) * move[k])
        ids = [ids[k] for k in order]
    return ids + [0] * (LENGTH - len(ids))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"drop": 0.0},
        {"drop": 0.6, "scale": [0.1, 0.4]},
        {"mask": 0.4, "move": 3, "num_views": 4},
        {"move": 5, "drop": 0.0, "distinct": False},
        {"drop": 1.0, "mask": 1.0},
    ],
)
def test_the_views_are_those_of_a_loop_over_samples(changed) -> None:
    options = {"num_views": 2, "distinct": True, "scale": [0.5, 1.0], "drop": 0.1, "mask": 0.0, "move": 0, **changed}
    policy = spans(**options)
    samples = [*texts(12), ("x " * 500,), ("a",), ("ab", "cd")]
    params = policy.draw(generator(1, "views"), len(samples))
    views = policy(policy.collate(samples, params))
    assert len(views) == options["num_views"]
    for v, view in enumerate(views):
        expected = [by_hand(policy, sample, params, i, v, options) for i, sample in enumerate(samples)]
        assert view.tensor.tolist() == expected
        assert view.aux["lengths"].tolist() == [sum(token > 0 for token in row) for row in expected]


def test_the_box_is_the_place_of_the_span() -> None:
    """Without drops, the bytes at the box are the view."""
    policy = spans(drop=0.0, scale=[0.2, 0.9])
    samples = [(text,) for text in SENTENCES]
    for view in made(policy, samples):
        assert view.aux["box"].shape == (len(samples), 3, 1)
        for (text,), ids, (start, extent, mirrored) in zip(
            samples, view.tensor, view.aux["box"][..., 0].tolist(), strict=True
        ):
            content = text.encode()
            first, num = round(start * len(content)), round(extent * len(content))
            assert mirrored == 0 and num == int((ids != 0).sum())
            assert [i - 1 for i in ids[:num].tolist()] == list(content[first : first + num])


def test_one_token_stays_and_padding_is_at_the_end() -> None:
    policy = spans(drop=1.0, move=4)
    for view in made(policy, texts(20)):
        assert ((view.tensor != 0).sum(dim=1) == 1).all() and (view.tensor[:, 0] != 0).all()
    for view in made(spans(drop=0.5, mask=0.5, move=4), texts(20)):
        real = (view.tensor != 0).int()
        assert (real.diff(dim=1) <= 0).all()


def test_no_token_moves_further_than_asked_and_none_is_lost() -> None:
    policy = spans(move=3, drop=0.0, scale=[1.0, 1.0])
    text = "abcdefghijklmnopqrstuvwx"
    farthest = 0
    for seed in range(20):
        for view in made(policy, [(text,)] * 4, seed):
            for row in view.tensor.tolist():
                assert sorted(row) == [ord(letter) + 1 for letter in text]
                farthest = max(farthest, *(abs(k - (token - 98)) for k, token in enumerate(row)))
    assert farthest == 3


def test_views_show_different_texts_as_far_as_there_are_any() -> None:
    for total in (1, 2, 3, 5):
        drawn = torch.rand(200, 4, generator=generator(0, "texts"))
        picked = torch.tensor([chosen(row, total, True) for row in drawn.tolist()])
        num = min(total, 4)
        assert (picked[:, :num].sort(dim=1).values.diff(dim=1) > 0).all()
        for view in range(4):  # each text is as likely in each view
            shares = picked[:, view].bincount(minlength=total) / 200
            assert (shares - 1 / total).abs().max() < 4 * math.sqrt(1 / total / 200)
    assert any(len(set(chosen([a, a], 5, False))) == 1 for a in (0.1, 0.9))
    assert chosen([0.1, 0.1], 5, True) == [0, 1]


def test_fractions_are_of_what_a_view_can_hold() -> None:
    """A text of any length gives views that are as full as those of one of `length` tokens."""
    policy = spans(scale=[0.5, 0.75], drop=0.0)
    for view in made(policy, [("x" * 10_000,)] * 50):
        assert view.aux["lengths"].min() >= 12 and view.aux["lengths"].max() <= 18
        start = view.aux["box"][:, 0, 0]
        assert start.min() < 0.2 and start.max() > 0.8


def test_the_plain_view_is_the_beginning_of_the_first_text() -> None:
    policy = spans()
    x = policy.plain([("abc", "xyz"), (SENTENCES[1],)])
    assert x.tensor[0].tolist() == [98, 99, 100] + [0] * (LENGTH - 3) and x.aux["lengths"].tolist() == [3, LENGTH]
    assert x.tensor[1].tolist() == [i + 1 for i in SENTENCES[1].encode()[:LENGTH]]
    assert len(policy.looks([("abc", "xyz")])) == 1


def test_looks_take_texts_in_turn_and_places_that_are_spread() -> None:
    policy = spans(looks=4)
    long = "".join(chr(ord("a") + i) for i in range(26)) * 2
    looks = [view.tensor for view in policy.looks([("ab", "cd"), (long,), ("z",)])]
    assert [policy.ids.tokenizer.decode([i for i in look[0].tolist() if i]) for look in looks] == ["ab", "cd"] * 2
    starts = [0, 9, 18, 28]
    assert [look[1].tolist() for look in looks] == [[i + 1 for i in long.encode()[s : s + LENGTH]] for s in starts]
    assert all(torch.equal(look[2], looks[0][2]) for look in looks)


def test_it_resumes_after_a_journey_to_another_process() -> None:
    policy = spans(tokenizer="words", num_words=100, mask=0.2, move=2)
    expected = [view.tensor for view in made(policy, texts(9))]
    for again in (pickle.loads(pickle.dumps(policy)), copy.deepcopy(policy)):
        assert all(torch.equal(a, view.tensor) for a, view in zip(expected, made(again, texts(9)), strict=True))


def test_a_batch_is_the_same_in_parts() -> None:
    """What k processes see is what one sees."""
    policy, samples = spans(mask=0.2, move=2), texts(12)
    params = policy.draw(generator(0, "views"), 12)
    whole = policy(policy.collate(samples, params))
    for rows in (slice(0, 5), slice(5, 12)):
        part = policy(policy.collate(samples[rows], {name: value[rows] for name, value in params.items()}))
        assert all(torch.equal(a.tensor[rows], b.tensor) for a, b in zip(whole, part, strict=True))


def test_the_draws_do_not_depend_on_what_is_switched_on() -> None:
    one = spans(drop=0.0).draw(generator(0, "views"), 3)
    other = spans(drop=0.5, mask=0.5, move=3, tokenizer="words").draw(generator(0, "views"), 3)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_cannot_be_is_one_sentence(tmp_path) -> None:
    for options, reason in {
        ("scale", (0.9, 0.5)): r"views\.scale: \[0\.9, 0\.5\] runs backwards",
        ("scale", (0.0, 0.5)): r"scale",
        ("length", 0): "length",
    }.items():
        with pytest.raises(UserError, match=reason):
            spans(**dict([options]))
    with pytest.raises(UserError, match="made for texts, but a sample is a Tensor"):
        made(spans(), torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    tokenizers = pytest.importorskip("tokenizers")
    path = tmp_path / "t.json"
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, unk_token="?")).save(str(path))
    assert spans(tokenizer=str(path)).spec.vocabulary == 3
    with pytest.raises(UserError, match=r"views\.mask: the tokenizer .*t\.json has no mask token"):
        spans(tokenizer=str(path), mask=0.1)


def test_the_picture_shows_the_plain_text_and_its_views() -> None:
    for options in ({}, {"tokenizer": "words", "mask": 0.5}):
        policy = spans(**options)
        samples = [(SENTENCES[1],), ("x" * 3000,)]
        picture = policy.picture(samples, made(policy, samples))
        assert picture.shape[2] == 3 * 300 and picture.shape[1] > 40
        assert all((column.float().std() > 5) for column in picture.float().split(300, dim=2))


def test_words_of_a_picture_are_those_of_the_sample() -> None:
    policy = spans(tokenizer="words", drop=0.0, scale=[1.0, 1.0], mask=0.5)
    sample = ("Two dogs run.", "A cat sleeps on it.")
    for view in made(policy, [sample] * 8):
        for row in view.tensor.tolist():
            shown = policy.ids.tokenizer.decode([i for i in row if i], sample)
            pattern = " ".join(["(\\S+)"] * len(shown.split()))
            words = set(re.fullmatch(pattern, shown).groups())
            assert words <= {"[mask]", "two", "dogs", "run", ".", "a", "cat", "sleeps", "on", "it"}
