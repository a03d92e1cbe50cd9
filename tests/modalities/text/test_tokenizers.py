"""Tokenizers: bytes, hashed and listed words, trained ones; and files that are none."""

import copy
import json
import pickle

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.modalities.text import tokenizers as module
from ssl_zoo.modalities.text.made import write_examples
from ssl_zoo.modalities.text.tokenizers import Bytes, HashedWords, ListedWords, open_tokenizer
from ssl_zoo.modalities.text.views.known import Known
from ssl_zoo.modalities.text.words import words, write_words

TEXT = "A dog doesn't bark, été!"


def write_trained(path, **options):
    """Train a byte-pair tokenizer on three sentences and write it."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = options.get("special", ["[UNK]", "[MASK]"])
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=80, special_tokens=special, show_progress=False)
    made.train_from_iterator(["a dog and a cat", "the dog saw a cat", "the dog ran"], trainer)
    if "length" in options:
        made.enable_truncation(options["length"])
        made.enable_padding(length=options["length"])
    made.save(str(path))
    return made


def test_bytes_come_back_whatever_they_are() -> None:
    tokenizer = Bytes()
    for text in (TEXT, "水の上を走る犬", "\x01 \U0001f415"):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.int32 and list(ids) == [byte + 1 for byte in text.encode()]
        assert tokenizer.decode(ids.tolist()) == text
    assert tokenizer.decode([*tokenizer.encode("a"), tokenizer.mask]) == "a[mask]"
    assert max(tokenizer.mask, 256) < tokenizer.vocabulary


def test_words_are_in_lower_case_and_punctuation_is_one_by_one() -> None:
    assert words(TEXT) == ["a", "dog", "doesn't", "bark", ",", "été", "!"]
    assert words("e\u0301te\u0301") == words("\u00e9t\u00e9") and words(" \n\t") == []
    assert words("'quoted' 3.5") == ["'", "quoted", "'", "3", ".", "5"]


def test_hashed_words_are_the_same_in_every_process() -> None:
    """A constant of the tokenizer: weights that were trained with it depend on it."""
    tokenizer = HashedWords(1000)
    assert list(tokenizer.encode("The dog, the DOG")) == [80, 167, 880, 80, 167]
    assert tokenizer.vocabulary == 1002 and list(HashedWords(1000).encode("dog")) == [167]
    assert tokenizer.decode([167, 1, 80], ["the dog"]) == "dog [mask] the"
    assert tokenizer.decode([5], ["the dog"]) == "[unknown]"
    ids = HashedWords(3).encode(" ".join(f"w{i}" for i in range(100)))
    assert set(ids) == {2, 3, 4}


def test_a_list_knows_its_words_and_no_others(tmp_path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("the\ndog\n\n,\n")
    tokenizer = open_tokenizer(str(path), 5)
    assert tokenizer.vocabulary == 6
    assert list(tokenizer.encode("The dog, the cat")) == [3, 4, 5, 3, 1]
    assert tokenizer.decode([3, 4, 2, 1]) == "the dog [mask] [unknown]"


def test_a_list_is_made_of_the_training_texts(tmp_path) -> None:
    write_examples(tmp_path / "texts", num=5)
    out = tmp_path / "words.txt"
    assert write_words(str(tmp_path / "texts"), str(out), num=10) == 10
    assert out.read_text().split()[:4] == [".", "the", "a", "was"]
    assert isinstance(open_tokenizer(str(out), 1), ListedWords)
    (tmp_path / "lines.txt").write_text("b a\na\n")
    write_words(str(tmp_path / "lines.txt"), str(out))
    assert out.read_text() == "a\nb\n"
    with pytest.raises(UserError, match=r"--out words: the name of a word list ends in \.txt"):
        write_words(str(tmp_path / "texts"), "words")
    with pytest.raises(UserError, match="no such file or folder"):
        write_words(str(tmp_path / "none"), str(out))


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"The\n", "line 1 of FILE is 'The', which is not one word in lower case"),
        (b"the\ntwo words\n", "line 2 of FILE is 'two words'"),
        (b"a\nb\na\n", "has 'a' twice, in lines 1 and 3"),
        (b"\n\n", "has no words"),
        (b"caf\xe9\n", r"is not UTF-8 \(byte 3\)"),
    ],
)
def test_a_list_that_is_none(content: bytes, reason: str, tmp_path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason.replace("FILE", str(path))):
        open_tokenizer(str(path), 5)


def test_the_vocabulary_of_a_trained_tokenizer_is_read_from_its_file(tmp_path) -> None:
    made = write_trained(tmp_path / "t.json")
    tokenizer = open_tokenizer(str(tmp_path / "t.json"), 5)
    ids = tokenizer.encode("the dog saw a cat")
    assert list(ids) == [1 + i for i in made.encode("the dog saw a cat").ids] and (ids > 0).all()
    assert tokenizer.vocabulary == made.get_vocab_size() + 1 and tokenizer.mask == made.token_to_id("[MASK]") + 1
    assert tokenizer.decode(ids.tolist()).replace(" ", "") == "thedogsawacat"
    assert list(tokenizer.encode("   ")) == [1 + made.token_to_id("[UNK]")]


def test_padding_truncation_and_special_tokens_of_a_file_are_not_used(tmp_path) -> None:
    text = "the dog saw a cat and the dog ran"
    write_trained(tmp_path / "plain.json")
    write_trained(tmp_path / "cut.json", length=4)
    plain, cut = (open_tokenizer(str(tmp_path / name), 5) for name in ("plain.json", "cut.json"))
    assert list(cut.encode(text)) == list(plain.encode(text)) and list(cut.encode("a")) == list(plain.encode("a"))


def test_a_trained_tokenizer_travels_to_workers(tmp_path) -> None:
    write_trained(tmp_path / "t.json")
    known = Known(open_tokenizer(str(tmp_path / "t.json"), 5))
    ids = known("the dog")
    for again in (pickle.loads(pickle.dumps(known)), copy.deepcopy(known)):
        assert list(again("the dog")) == list(ids)


def test_files_that_are_no_tokenizers(tmp_path, monkeypatch) -> None:
    """Each in one sentence that names the option and the file."""
    pytest.importorskip("tokenizers")
    made = json.loads(write_trained(tmp_path / "t.json").to_str())
    made["model"]["vocab"]["far"] = 4_000_000_000
    deep = '{"model": ' * 10_000 + "1" + "}" * 10_000
    hostile = {
        "number.json": ("1", "is no tokenizer"),
        "other.json": ('{"a": 1}', "is no tokenizer"),
        "list.json": ("[]", "is no tokenizer"),
        "deep.json": (deep, "is no tokenizer"),
        "cut.json": ((tmp_path / "t.json").read_text()[:300], "is no tokenizer"),
        "far.json": (json.dumps(made), "ids up to 4000000000"),
        "empty.json": ("", "is no tokenizer"),
    }
    for name, (content, reason) in hostile.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError) as caught:
            open_tokenizer(str(tmp_path / name), 5)
        assert reason in str(caught.value) and str(caught.value).startswith("views.tokenizer: "), name
        assert name in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    with pytest.raises(UserError, match="of the largest tokenizer that is read"):
        open_tokenizer(str(tmp_path / "t.json"), 5)
    for name, reason in {
        "none.json": "is no file",
        "gone.txt": "is no file",
        "words.csv": "neither bytes, words, nor a file",
        "word": "neither bytes, words, nor a file",
    }.items():
        with pytest.raises(UserError, match=reason):
            open_tokenizer(name, 5)


def test_what_is_remembered_is_bounded_and_equal() -> None:
    plain = HashedWords(50)
    known = Known(HashedWords(50), room=600)
    texts = [f"text number {i}" for i in range(20)]
    for _ in range(2):
        for text in texts:
            assert list(known(text)) == list(plain.encode(text))
    assert known(texts[0]) is known(texts[0]) and known(texts[-1]) is not known(texts[-1])
