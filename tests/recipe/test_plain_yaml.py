"""Recipes are plain data: what YAML has beyond that, and what would be costly, is one sentence."""

import os
import random

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.recipe import plain_yaml
from ssl_zoo.recipe.load import load_recipe, method_names, recipe_path

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "a: 1\nb: 2\na: 3": "line 3: the key 'a' comes twice",
    "a: {b: 1, b: 2}": "line 1: the key 'b' comes twice",
    BOMB: "line 5: more than 20000 values",
    "[" + "1, " * 30_000 + "]": "line 1: more than 20000 values",
    "[" * 100_000: "line 1: nested more than 40 deep",
    "- " * 100_000: "line 1: nested more than 40 deep",
    "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60)): "nested more than 40 deep",
    "&a [*a]": r"\*a stands inside of itself",
    "a: &a {b: 1}\nc: {<<: *a}": "line 2: merge keys (<<) are not supported; write the keys out",
    "a: !!python/object:os.system x": "the tag !!python/object:os.system is not supported",
    "!!set {a}": "the tag !!set is not supported",
    "a: " + "1" * 10**5: "a number of 100000 digits",
    "a: 0x" + "f" * 10**5: "a number of 100002 digits",
    "a: 0b_": "a value that cannot be read: invalid literal",
    "a: 1\n---\na: 2": "line 2: expected a single document in the stream, but found another document",
    "a: \0": "special characters are not allowed",
    "1: 2": "the key '1' is not text; quote it",
    "yes: 2": "the key 'yes' is not text; quote it",
    "[a]: 2": "a key is text, not a list or a mapping",
    "a: [1": "line 1: while parsing a flow sequence, expected ',' or ']'",
    "a: *x": "found undefined alias 'x'",
    "x" * 2**19: "is too large for a recipe (more than 256 KiB)",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_what_is_not_plain_is_one_sentence(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_recipe(str(path))
    says = str(caught.value)
    assert says.startswith(f"{path}: is ") and REFUSED[text].replace("\\", "") in says
    assert "\n" not in says and len(says) < len(str(path)) + 250


def test_what_is_plain_is_read_as_it_stands():
    text = "a: &a [1, 2.5, yes, ~, x]\nb: *a\nc: 2024-01-01\nd: =\ne: .inf\n'1': 0x1F"
    items = [1, 2.5, True, None, "x"]
    assert plain_yaml.load(text) == {"a": items, "b": items, "c": "2024-01-01", "d": "=", "e": float("inf"), "1": 31}
    assert plain_yaml.load("") is None


def test_the_value_of_an_override_is_read_the_same_way():
    for value, words in {
        "{a: 1, a: 2}": r"the key 'a' comes twice\.$",
        "[" * 1000: "nested more than 40 deep",
        "!!python/none x": "the tag !!python/none is not supported",
        "9" * 500: "a number of 500 digits",
    }.items():
        with pytest.raises(UserError, match=rf"^-s training\.epochs=.*the value is not valid YAML .*: line 1: {words}"):
            load_recipe("simsiam", [f"training.epochs={value}"])
    for value in (".inf", ".nan", "1e400", "'1e400'"):
        with pytest.raises(UserError, match=r"training\.epochs: (inf|nan|'1e400') is not possible"):
            load_recipe("simsiam", [f"training.epochs={value}"])
    assert load_recipe("simsiam", ["method=2024-01-01"]).method == "2024-01-01"


def test_only_regular_files_of_a_recipes_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(2**31)
    for path, words in {
        tmp_path / "pipe.yaml": "is no regular file",
        "/dev/zero": "is no regular file",
        tmp_path / "huge.yaml": "is too large for a recipe",
        tmp_path / ("x" * 300 + ".yaml"): "cannot be read: File name too long",
        "x" * 5000: "cannot be read: File name too long",
    }.items():
        with pytest.raises(UserError, match=words) as caught:
            load_recipe(str(path))
        assert len(str(caught.value)) < 1000
    (tmp_path / "latin.yaml").write_bytes("method: caf\xe9".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml: is not a text file in UTF-8"):
        load_recipe(str(tmp_path / "latin.yaml"))


def _mutated(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    place, kind = chance.randrange(len(lines)), chance.randrange(5)
    if kind == 0:
        letters = list(text)
        for _ in range(chance.randrange(1, 8)):
            letters[chance.randrange(len(letters))] = chr(chance.choice([*range(127), 0x2028, 0xD800]))
        return "".join(letters)
    if kind == 1:
        return text[: chance.randrange(len(text))]
    if kind == 2:
        lines.insert(place, chance.choice(lines))
    elif kind == 3:
        lines[place] = chance.choice(["  ", "\t", "- ", "? ", "&a *a "]) + lines[place]
    else:
        key = lines[place].partition(":")[0]
        lines[place] = f"{key}: " + chance.choice(
            ["", "[]", "{}", "-1", ".nan", "{1: 2}", "[[mlp]]", "{name: mlp}", "{name: 3}", "'\\0'", "9" * 30, "timm/"]
        )
    return "\n".join(lines)


def test_mutated_recipes_are_read_or_refused_in_one_sentence(tmp_path):
    chance, path = random.Random(0), tmp_path / "mine.yaml"
    texts = [recipe_path(name).read_text(encoding="utf-8") for name in method_names()]
    refused = 0
    for _ in range(150):
        path.write_bytes(_mutated(chance.choice(texts), chance).encode("utf-8", "surrogatepass"))
        try:
            load_recipe(str(path))
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1500
    assert refused > 50
