"""What the folders of a tree of files mean."""

import pytest

from ssl_zoo.data.layout.tree import split_files
from ssl_zoo.errors import UserError


def plan(*paths: str, labels: str = "auto") -> dict[str, list[tuple[str, str | None]]]:
    """Return for each split its files, each with the name of its class."""
    found = split_files(paths, extensions={".png", ".jpg"}, labels=labels, where="the folder x").splits
    return {
        name: [
            (path, None if files.labels is None else files.class_names[files.labels[i]])
            for i, path in enumerate(files.paths)
        ]
        for name, files in found.items()
    }


def test_files_directly_in_the_folder_have_no_label():
    assert plan("b.png", "a.JPG", "notes.txt") == {"train": [("a.JPG", None), ("b.png", None)]}


def test_one_folder_a_class_of_any_depth():
    assert plan("dog/1.png", "cat/x/y/2.png") == {"train": [("cat/x/y/2.png", "cat"), ("dog/1.png", "dog")]}


def test_a_file_outside_the_class_folders_or_a_single_folder_means_no_labels():
    assert plan("dog/1.png", "cat/2.png", "3.png") == {
        "train": [("3.png", None), ("cat/2.png", None), ("dog/1.png", None)]
    }
    assert plan("all/1.png", "all/2.png")["train"] == [("all/1.png", None), ("all/2.png", None)]


def test_train_and_test_are_splits_with_the_same_class_numbers():
    assert plan("test/dog/4.png", "test/ant/5.png", "train/cat/1.png", "train/dog/2.png", "train/ant/3.png") == {
        "train": [("train/ant/3.png", "ant"), ("train/cat/1.png", "cat"), ("train/dog/2.png", "dog")],
        "test": [("test/ant/5.png", "ant"), ("test/dog/4.png", "dog")],
    }


def test_val_stands_in_for_test_only_where_there_is_none():
    assert list(plan("train/1.png", "val/2.png")) == ["train", "test"]
    assert plan("train/1.png", "val/2.png", "test/3.png") == {
        "train": [("train/1.png", None)],
        "test": [("test/3.png", None)],
        "val": [("val/2.png", None)],
    }


def test_train_alone_is_a_split_but_among_others_a_class():
    alone = plan("train/cat/1.png", "train/dog/2.png")
    assert alone == {"train": [("train/cat/1.png", "cat"), ("train/dog/2.png", "dog")]}
    assert plan("train/1.png", "bus/2.png") == {"train": [("bus/2.png", "bus"), ("train/1.png", "train")]}


def test_a_single_folder_at_the_top_is_passed_through_and_hidden_files_are_not_seen():
    paths = ("pets/Train/cat/1.png", "pets/Train/dog/2.png", "pets/Test/cat/3.png", "pets/Test/dog/4.png")
    hidden = ("__MACOSX/pets/Train/cat/._1.png", ".DS_Store", "pets/Train/cat/._1.png", ".cache/5.png")
    assert plan(*paths, *hidden) == {
        "train": [("pets/Train/cat/1.png", "cat"), ("pets/Train/dog/2.png", "dog")],
        "test": [("pets/Test/cat/3.png", "cat"), ("pets/Test/dog/4.png", "dog")],
    }


def test_an_unlabelled_split_beside_a_labelled_one():
    assert plan("train/cat/1.png", "train/dog/2.png", "test/3.png") == {
        "train": [("train/cat/1.png", "cat"), ("train/dog/2.png", "dog")],
        "test": [("test/3.png", None)],
    }


def test_images_outside_the_splits_are_told():
    paths = ("train/1.png", "test/2.png", "unlabeled/3.png", "4.png")
    assert plan(*paths) == {"train": [("train/1.png", None)], "test": [("test/2.png", None)]}
    [note] = split_files(paths, extensions={".png"}, labels="auto", where="the folder x").notes
    assert note.startswith("the folder x: 2 files outside train/ and test/ are not used: no folder (1), unlabeled/ (1)")
    assert note.endswith("-s 'data.source.splits={train: [train, unlabeled], test: test}'.")


def test_labels_can_be_refused_or_insisted_on():
    assert plan("dog/1.png", "cat/2.png", labels="none") == {"train": [("cat/2.png", None), ("dog/1.png", None)]}
    assert plan("dog/1.png", "cat/2.png", labels="folder")["train"][0] == ("cat/2.png", "cat")
    with pytest.raises(UserError, match=r"not every file of the train split of the folder x lies in one"):
        plan("dog/1.png", "cat/2.png", "3.png", labels="folder")


def test_nothing_to_read_is_told_with_counts():
    with pytest.raises(UserError, match=r"the folder x is empty"):
        plan()
    with pytest.raises(UserError, match=r"the folder x is empty"):
        plan(".DS_Store")
    with pytest.raises(UserError, match=r"has 4 files but none to read: .*\.txt \(2\), \.csv \(1\), no ending \(1\);"):
        plan("a.txt", "b/c.TXT", "d.csv", "README")


def test_a_test_split_without_a_train_split_is_told():
    with pytest.raises(UserError, match=r"has test/ and val/ but no files in train/"):
        plan("test/1.png", "val/2.png", "train/notes.txt")
