"""Folders whose names are the classes of the images in them."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import shared

from yolo9000.data.formats.folder import folder_classes, read_folder
from yolo9000.errors import DataError
from yolo9000.types import Annotation, ImageFile


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not looked into")


def codes(annotations: list[Annotation]) -> list[tuple[str, str]]:
    return [(issue.code, Path(issue.where).name) for annotation in annotations for issue in annotation.issues]


def test_the_folder_is_the_class(tmp_path):
    put(tmp_path, "n02/b.jpg", "n02/a.PNG", "n01/deep/er/c.jpeg", "n01/z.webp")
    assert folder_classes(tmp_path) == ("n01", "n02")
    annotations = list(read_folder(tmp_path, ("n00", "n02", "n01")))
    assert codes(annotations) == []
    samples = [annotation.sample for annotation in annotations]
    assert [(sample.name, sample.image_labels) for sample in samples] == [
        ("n01/deep/er/c.jpeg", (2,)),
        ("n01/z.webp", (2,)),
        ("n02/a.PNG", (1,)),
        ("n02/b.jpg", (1,)),
    ]
    assert samples[0].image == ImageFile(tmp_path / "n01" / "deep" / "er" / "c.jpeg")
    assert samples[0].where == str(tmp_path / "n01" / "deep" / "er" / "c.jpeg")
    assert all(sample.boxes is None and sample.size_wh is None for sample in samples)


@pytest.mark.posix
def test_a_link_to_a_folder_is_a_class(tmp_path):
    put(tmp_path, "from/dog/a.jpg")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "dog").symlink_to(tmp_path / "from" / "dog")
    assert folder_classes(tmp_path / "to") == ("dog",)
    (annotation,) = read_folder(tmp_path / "to", ("dog",))
    assert annotation.sample.name == "dog/a.jpg"


@pytest.mark.posix
def test_all_that_may_be_wrong(tmp_path):
    put(tmp_path, "dog/a.jpg", "dog/b.psd", "dog/boxes.txt", "dog/.hidden.jpg", "dog/Thumbs.db")
    put(tmp_path, "dogs/a.jpg", "dogs/b.jpg", "cat/.keep", "a.jpg", "LICENSE", "classes.csv", ".git/a.jpg", "b.bin")
    (tmp_path / "dog" / "c.jpg").symlink_to("gone.jpg")
    (tmp_path / "dog" / "round").symlink_to(tmp_path)
    (tmp_path / "dog" / "d.jpg").mkdir()
    os.mkfifo(tmp_path / "dog" / "e.jpg")
    annotations = list(read_folder(tmp_path, ("cat", "dog")))
    assert codes(annotations) == [
        ("label-missing", "a.jpg"),
        ("label-missing", "b.bin"),
        ("class-empty", "cat"),
        ("file-unknown", "b.psd"),
        ("image-missing", "c.jpg"),
        ("image-missing", "e.jpg"),
        ("file-unknown", "round"),
        ("class-unknown", "dogs"),
    ]
    assert [annotation.sample.name for annotation in annotations if annotation.sample] == ["dog/a.jpg"]
    unknown = annotations[-1].issues[0]
    assert unknown.message == "must be one of the 2 classes, got 'dogs' (did you mean 'dog'?)"
    assert not unknown.fixable


def test_what_cannot_be_read_at_all(tmp_path):
    with pytest.raises(DataError, match="gone: file-unreadable: must be a folder that can be read: No such file"):
        list(read_folder(tmp_path / "gone", ("a",)))
    put(tmp_path, "file")
    with pytest.raises(DataError, match="file: file-unreadable: must be a folder that can be read: Not a directory"):
        folder_classes(tmp_path / "file")
    with pytest.raises(DataError, match="file-syntax: must hold a folder with images for each class, holds none"):
        folder_classes(tmp_path)
    with pytest.raises(DataError, match="class-duplicate"):
        list(read_folder(tmp_path, ("a", "a")))


NAMES = st.from_regex(r"[a-c]{1,2}(\.(jpg|png|txt|bin))?", fullmatch=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=6, unique=True))
def test_every_file_is_a_sample_or_a_issue(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("folder")
    put(root, "a/first.jpg")
    files = {"a/first.jpg"}
    for name in names:
        try:
            put(root, name)
            files.add(name)
        except OSError:
            continue  # the name of a folder is that of a file
    annotations = list(read_folder(root, ("a", "b")))
    assert all((annotation.sample is None) != (not annotation.issues) for annotation in annotations)
    samples = {annotation.sample.name for annotation in annotations if annotation.sample}
    reported = [Path(issue.where).relative_to(root) for item in annotations for issue in item.issues]
    assert samples == {name for name in files if name.startswith(("a/", "b/")) and name.endswith((".jpg", ".png"))}
    for name in files - samples:
        is_reported = any(Path(name).is_relative_to(path) for path in reported)
        assert is_reported or name.endswith(".txt")


def test_real_data():
    root = shared("data", "groceries-labels", "train")
    classes = folder_classes(root)
    assert classes == ("Fruit", "Packages", "Vegetables")
    annotations = list(read_folder(root, classes))
    assert codes(annotations) == []
    assert len(annotations) == 2640
