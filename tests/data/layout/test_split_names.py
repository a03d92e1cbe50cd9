"""Splits under the names that data sets use, and what is not clear."""

import unicodedata

import pytest

from ssl_zoo.data.layout.tree import TreeSplits, split_files
from ssl_zoo.errors import UserError


def plan(*paths: str, **options) -> TreeSplits:
    return split_files(paths, **{"extensions": {".png"}, "labels": "auto", "where": "the folder x", **options})


def two(*splits: str) -> list[str]:
    """Return the paths of two classes in each split."""
    return [f"{split}/{kind}/1.png" for split in splits for kind in ("cat", "dog")]


def shown(found: TreeSplits) -> dict[str, tuple[list[str], list[int] | None]]:
    return {
        name: (list(files.paths), None if files.labels is None else files.labels.tolist())
        for name, files in found.splits.items()
    }


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("train2017", "val2017"),
        ("seg_train", "seg_test"),
        ("train", "dev"),
        ("train_set", "test_set"),
        ("TrainImages", "TestImages"),
        ("trainval", "evaluation"),
        ("data/TRAIN", "data/VALIDATION"),
    ],
)
def test_usual_names_are_splits(train, test):
    found = plan(*two(train, test))
    assert shown(found) == {"train": (two(train), [0, 1]), "test": (two(test), [0, 1])}
    assert found.splits["train"].class_names == ["cat", "dog"]
    if train.lower() != "data/train":
        assert f"{train}/ is read as train" in found.notes[0] or f"{test}/ is read as" in found.notes[0]


def test_images_without_labels_beside_train_are_told_and_can_be_trained_on():
    paths = two("train", "unlabeled")
    found = plan(*paths)
    assert shown(found) == {"train": (two("train"), [0, 1])}
    [note] = found.notes
    assert note == (
        "the folder x: 2 files outside train/ are not used: unlabeled/ (2); to train on all: "
        "-s 'data.source.splits={train: [train, unlabeled]}'."
    )
    all_of_it = plan("test/cat/5.png", "test/dog/5.png", *two("train"), "unlabeled/7.png",
                     splits={"train": ["train", "unlabeled"], "test": "test"})  # fmt: skip
    assert shown(all_of_it)["train"] == ([*two("train"), "unlabeled/7.png"], [0, 1, -1])
    assert shown(all_of_it)["test"][1] == [0, 1] and all_of_it.notes == ()


def test_splits_within_each_class():
    paths = [f"{kind}/{split}/good/1.png" for kind in ("bottle", "cable") for split in ("test", "train")]
    found = plan(*paths, "bottle/ground_truth/broken/1.png")
    assert shown(found) == {"train": (paths[1::2], [0, 1]), "test": (paths[::2], [0, 1])}
    assert found.splits["test"].class_names == ["bottle", "cable"]
    assert "the splits lie within the classes: bottle/" in found.notes[0]
    assert found.notes[1] == (
        "the folder x: 1 file in no split, not used; for example bottle/ground_truth/broken/1.png."
    )


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (two("train_images", "test"), "test/ and train_images/ look like splits, not classes; rename them train and t"),
        (two("trainA", "trainB", "testA", "testB"), "look like splits; rename them"),
        (two("train1", "train2"), "train1/ and train2/ look like splits"),
        (two("train", "Train", "test"), "Train/ and train/ look like one split"),
        (two("train2017", "val2017", "masks"), "train2017/ and val2017/ look like splits"),
        ([*two("a/train", "a/test"), "b/1.png"], "splits within some folders, such as a/test, but none within b"),
        (
            two("a/v1/train", "a/v1/test", "b/v1/train", "b/v1/test"),
            "say so: -s \"data.source.splits={train: '*/*/train', test: '*/*/FOLDER'}\", or -s ",
        ),
        (two("test"), "has test/ but no files in train/; to train on that: -s 'data.source.splits={train: test}'."),
        (two("test", "val"), "has test/ and val/ but no files in train/"),
    ],
)
def test_what_looks_like_splits_and_is_not_clear_is_refused(paths, words):
    with pytest.raises(UserError) as error:
        plan(*paths)
    assert words in str(error.value)


def test_the_user_says_what_the_splits_are():
    paths = two("train_images", "test")
    found = plan(*paths, splits={"train": "train_images", "test": ["test"]})
    assert shown(found) == {"train": (two("train_images"), [0, 1]), "test": (two("test"), [0, 1])}
    assert shown(plan(*paths, splits="none")) == {"train": (sorted(paths), [0, 0, 1, 1])}
    deep = two("a/v1/train", "a/v1/test", "b/v1/train", "b/v1/test")
    found = plan(*deep, splits={"train": "*/v1/train", "test": "*/v1/test"})
    assert found.splits["train"].class_names == ["a", "b"] and shown(found)["test"][1] == [0, 0, 1, 1]
    wrapped = plan(*two("pets/one", "pets/two"), splits={"train": "one", "val": "pets/two"})
    assert list(wrapped.splits) == ["train", "test"] and "val is used for it" in wrapped.notes[0]
    with pytest.raises(UserError, match=r"has no files in 'trian'; did you mean 'train'"):
        plan(*two("train", "test"), splits={"train": "trian"})
    with pytest.raises(UserError, match=r"names no folder for train"):
        plan(*two("train", "test"), splits={"test": "test"})
    with pytest.raises(UserError, match=r"'a' is named for train and for test"):
        plan(*two("a", "b"), splits={"train": "a", "test": "a"})


def test_classes_that_are_called_like_a_split_are_told():
    found = plan("train/1.png", "bus/2.png")
    assert found.splits["train"].class_names == ["bus", "train"]
    assert found.notes[0].startswith("the folder x: train/ taken for classes like the others; if they are splits, say")
    stations = plan("train_station/1.png", "bus_station/2.png")
    assert stations.splits["train"].class_names == ["bus_station", "train_station"] and stations.notes == ()


def test_a_split_that_is_not_used_is_told():
    assert plan(*two("train", "val")).notes == ("the folder x: there is no test split, so val is used for it.",)
    assert plan(*two("train", "val", "test")).notes == (
        "the folder x: the val split is not used, since there is a test split.",
    )


def test_letters_are_compared_as_they_look_and_capitals_as_they_are_meant():
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    found = plan(f"train/{composed}/1.png", "train/zoo/2.png", f"test/{decomposed}/3.png", "test/zoo/4.png")
    assert found.splits["test"].labels.tolist() == [0, 1]
    assert [len(files.class_names) for files in found.splits.values()] == [2, 2]
    assert found.notes == (
        "the folder x: café is spelt with composed and with decomposed letters, which are one class each.",
    )
    found = plan("train/Cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png")
    assert found.splits["train"].class_names == ["Cat", "dog"] and found.splits["test"].labels.tolist() == [0, 1]
    assert found.notes == ("the folder x: Cat, cat differ in capitals only, between splits, and are one class.",)
    found = plan("Cat/1.png", "cat/2.png", "dog/3.png")
    assert found.splits["train"].class_names == ["Cat", "cat", "dog"]
    assert found.notes == ("the folder x: Cat, cat differ in capitals only and are 2 classes.",)


def test_a_single_folder_that_is_a_class_of_another_split_is_labelled():
    found = plan("train/cat/1.png", "train/dog/2.png", "test/dog/3.png")
    assert found.splits["test"].labels.tolist() == [1]


def test_a_stray_image_that_costs_the_labels_is_told():
    found = plan("cat/1.png", "dog/2.png", "3.png")
    assert found.splits["train"].labels is None
    assert found.notes == (
        "the folder x: train has no labels, since 1 of 3 files lies in no folder of a class; for example 3.png.",
    )
