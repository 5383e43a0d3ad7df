"""A data set: where its images and labels are, what its classes are called, and what it labels exhaustively.

It is described by a data-set file, or recognised from what the user points at. A data-set file is YAML::

    classes: [apple, pear, milk]          # or a file, one a line; left out: what the sources hold
    tree: labels.tree                     # optional
    train:
      - {format: voc, path: fruit, list: ImageSets/Main/train.txt}
      - {format: folder, path: shelf/train, map: {golden-delicious: apple}, exhaustive: none}
    val:
      - {format: voc, path: fruit, list: ImageSets/Main/val.txt}

Paths are relative to the file. It holds no code and no addresses, and nothing outside it changes what it means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from jaxtyping import Bool, Float32, Int64
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yolo9000.data.formats.coco import category_ids, coco_classes, read_coco
from yolo9000.data.formats.csv import ListColumns, read_list
from yolo9000.data.formats.folder import folder_classes, read_folder
from yolo9000.data.formats.tar import read_tar
from yolo9000.data.formats.voc import read_voc, voc_classes
from yolo9000.data.formats.yolo import read_darknet, read_darknet_data, read_yolo_yaml
from yolo9000.errors import ConfigError, DataError, describe_errors
from yolo9000.taxonomy.class_names import COCO, COCO_CATEGORY_IDS, nearest
from yolo9000.taxonomy.darknet_files import read_lines, read_names
from yolo9000.taxonomy.files import read_tree_file
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Annotation, Sample

__all__ = ["SPLITS", "DataSet", "DataSetFile", "OnError", "Source", "Split", "open_data", "splits_of"]

OnError = Literal["error", "skip", "fix"]
"""What to do with an image whose annotation has an issue: stop, leave the image out, or mend what can be mended."""
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class _Common(BaseModel):
    """What every kind of source has.

    Attributes:
        path: its folder or file, relative to the data-set file.
        map: from the source's names of classes to the data set's.
        leave_out: classes of the source whose objects are not read: these, or all others than the data set's.
        exhaustive: classes of which every object is labelled in every image of the source: all, none or these. Of any
            other class, an image without a label may still show one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    map: dict[str, str] = Field(default_factory=dict)
    leave_out: Literal["others"] | list[str] = Field(default_factory=list)
    exhaustive: Literal["all", "none"] | list[str] = "all"

    @property
    def left_out(self) -> tuple[str, ...]:
        """The classes that `leave_out` names; none where it says ``others``."""
        return () if self.leave_out == "others" else tuple(self.leave_out)


class VocSource(_Common):
    """PASCAL VOC: ``Annotations/*.xml`` and ``JPEGImages``; ``list`` names the file of image names to take."""

    format: Literal["voc"]
    list: str | None = None

    def class_names(self, root: Path) -> Sequence[str]:
        """The names that stand in the annotations, sorted."""
        return voc_classes(root / self.path, self._list(root))

    def read(self, root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
        """See `read_voc`."""
        return read_voc(root / self.path, self._list(root), classes)

    def _list(self, root: Path) -> Path | None:
        return root / self.path / self.list if self.list else None


class CocoSource(_Common):
    """COCO JSON; ``images`` is the folder of the images, relative to the data-set file."""

    format: Literal["coco"]
    images: str

    def class_names(self, root: Path) -> Sequence[str]:
        """The categories by rising id."""
        return coco_classes(root / self.path)

    def read(self, root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
        """See `read_coco`."""
        return read_coco(root / self.path, root / self.images, classes)


class _Numbered(_Common):
    """A source whose classes may be numbers, from 0.

    ``names`` are the classes that these number, in order: a list, or a file with one a line; left out, they are the
    data set's.
    """

    names: list[str] | str | None = None

    def class_names(self, root: Path) -> Sequence[str]:
        """The given names."""
        return read_names(root / self.names) if isinstance(self.names, str) else self.names or ()


class DarknetSource(_Numbered):
    """Darknet and YOLO: a folder of images or a list of them (``.txt``), with a label file for each image."""

    format: Literal["darknet"]

    def read(self, root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
        """See `read_darknet`."""
        return read_darknet([root / self.path], classes)


class FolderSource(_Common):
    """A folder for each class: image-level labels."""

    format: Literal["folder"]

    def class_names(self, root: Path) -> Sequence[str]:
        """The folders' names, sorted."""
        return folder_classes(root / self.path)

    def read(self, root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
        """See `read_folder`."""
        return read_folder(root / self.path, classes)


class ListSource(_Numbered):
    """A CSV or TSV file of labels or boxes; ``images`` is the images' folder, ``columns`` says what stands where."""

    format: Literal["list"]
    images: str
    columns: ListColumns

    def read(self, root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
        """See `read_list`."""
        return read_list(root / self.path, root / self.images, classes, self.columns)


class TarSource(_Common):
    """A tar file, read without unpacking; ``boxes`` is a TSV of boxes for its images."""

    format: Literal["tar"]
    boxes: str | None = None

    def class_names(self, root: Path) -> Sequence[str]:
        """None: the data set must name its classes."""
        return ()

    def read(self, root: Path, classes: Sequence[str]) -> Iterator[Annotation]:
        """See `read_tar`."""
        return read_tar(root / self.path, root / self.boxes if self.boxes else None, classes)


Source = Annotated[
    VocSource | CocoSource | DarknetSource | FolderSource | ListSource | TarSource, Field(discriminator="format")
]


class DataSetFile(BaseModel):
    """A data-set file; see the top of this module.

    Attributes:
        classes: names in order, or a file with one a line; None takes what the sources hold.
        tree: a ``.tree`` or ``.yaml`` file whose ids or names the classes are.
        train, val, test: the sources of each split.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    classes: list[str] | str | None = None
    tree: str | None = None
    train: list[Source] = Field(default_factory=list)
    val: list[Source] = Field(default_factory=list)
    test: list[Source] = Field(default_factory=list)


@dataclass(frozen=True)
class DataSet:
    """One split of a data set.

    Attributes:
        name: what to call it in messages.
        root: folder that the sources' paths are relative to.
        classes: names; a label is a place among them.
        sources: where the images and labels are.
        tree: the label tree, if one was given.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    sources: tuple[Source, ...]
    tree: WordTree | None = None

    def numbered(self, source: Source) -> bool:
        """Whether the classes of a source are numbers of the data set's."""
        by_number = isinstance(source, DarknetSource) or (isinstance(source, ListSource) and source.columns.numbers)
        return by_number and not source.class_names(self.root)

    def exhaustive(self, source: int) -> Bool[np.ndarray, " k"]:
        """Which classes the source labels exhaustively: only of these does an image without a label mean "none".

        A class whose objects are left out is none of them.
        """
        chosen, classes = self.sources[source], np.array(self.classes)
        stated = chosen.exhaustive
        known = np.isin(classes, stated) if isinstance(stated, list) else np.full(len(classes), stated == "all")
        return known & ~np.isin(classes, [chosen.map.get(name, name) for name in chosen.left_out])

    def annotations(self) -> Iterator[Annotation]:
        """Every image's annotation, source by source, with its issues."""
        for place, source in enumerate(self.sources):
            names, numbers = self._names_of(source)
            for annotation in source.read(self.root, names):
                yield _renumbered(annotation, numbers, place)

    def samples(self, on_error: OnError = "error") -> Iterator[Sample]:
        """Every usable image.

        Args:
            on_error: what to do with an image whose annotation has an issue.

        Raises:
            DataError: ``on_error`` is ``error`` and there is an issue: the first one, with advice.
        """
        for annotation in self.annotations():
            if annotation.issues and on_error == "error":
                issue = annotation.issues[0]
                raise DataError(
                    f"{issue}; {issue.suggestion} (`yolo9000 data check` lists all issues, `on_error` skip or fix continues)"
                )
            if annotation.sample is not None and (not annotation.issues or on_error == "fix"):
                yield annotation.sample

    def category_ids(self) -> dict[int, int]:
        """COCO's category id of each label, for results files.

        COCO's own for its 80 classes; those of a COCO JSON that is the only source; else the labels themselves.
        """
        only = self.sources[0] if len(self.sources) == 1 else None
        if self.classes == COCO:
            return COCO_CATEGORY_IDS
        if isinstance(only, CocoSource) and not only.map and not only.leave_out:
            return category_ids(self.root / only.path, self.classes)
        return {label: label for label in range(len(self.classes))}

    def box_sizes(self, on_error: OnError = "error") -> tuple[Float32[np.ndarray, "n 2"], Int64[np.ndarray, "n 2"]]:
        """Width and height in pixels of every box, and of the image that it is in; without difficult ones and crowds.

        Raises:
            DataError: see `samples`; there is no box.
        """
        boxes, images = [np.empty((0, 2), np.float32)], [np.empty((0, 2), np.int64)]
        for sample in self.samples(on_error):
            if sample.boxes is not None and sample.size_wh is not None:
                plain = sample.boxes.boxes_xyxy[~(sample.boxes.difficult | sample.boxes.crowd)]
                boxes.append(plain[:, 2:] - plain[:, :2])
                images.append(np.tile(np.array(sample.size_wh, np.int64), (len(plain), 1)))
        sizes_wh = np.concatenate(boxes)
        if not len(sizes_wh):
            raise DataError(f"{self.name}: must have boxes, has none")
        return sizes_wh, np.concatenate(images)

    def _names_of(self, source: Source) -> tuple[tuple[str, ...], Int64[np.ndarray, " n"]]:
        """The source's own names of classes, and the data set's number of each; -1 for those that are left out."""
        own = tuple(source.class_names(self.root)) if isinstance(source, _Numbered) or source.leave_out else ()
        names = own or (*self.classes, *(name for name in source.map if name not in self.classes))
        place = {name: number for number, name in enumerate(self.classes)}
        numbers = []
        for name in names:
            wanted = source.map.get(name, name)
            if wanted not in place and name not in source.left_out and source.leave_out != "others":
                close = nearest(wanted, self.classes)
                raise ConfigError(f"{self.name}: {wanted!r} must be one of the classes, or in leave_out{close}")
            numbers.append(LEFT_OUT if name in source.left_out else place.get(wanted, LEFT_OUT))
        return names, np.array(numbers, np.int64)


LEFT_OUT = -1


def _renumbered(annotation: Annotation, numbers: Int64[np.ndarray, " n"], source: int) -> Annotation:
    """The annotation with its labels changed from the source's numbers to the data set's."""
    sample = annotation.sample
    if sample is None:
        return annotation
    boxes = sample.boxes
    if boxes is not None:
        labels = numbers[boxes.labels]
        boxes = replace(boxes.select(labels != LEFT_OUT), labels=labels[labels != LEFT_OUT])
    image_labels = {int(numbers[label]) for label in sample.image_labels} - {LEFT_OUT}
    return replace(
        annotation, sample=replace(sample, boxes=boxes, image_labels=tuple(sorted(image_labels)), source=source)
    )


def open_data(path: str | Path, split: Split = "train") -> DataSet:
    """Open one split of a data set.

    Args:
        path: a data-set file or a YOLO ``.yaml``; Darknet's ``.data``; a COCO ``.json``; a folder that holds VOC
            (``Annotations``, ``JPEGImages``), images with label files (``images``, ``labels``), or a folder for each
            class, the last two also inside folders named like the splits.
        split: the split; what has no splits is taken whole for every one.

    Raises:
        ConfigError: the file is wrong, or has no such split.
        DataError: a file cannot be read, or nothing is recognised.
    """
    path = Path(path)
    file = _read(path)
    sources: tuple[Source, ...] = tuple(getattr(file, split)) or tuple(file.undivided)
    if not sources:
        raise ConfigError(f"{path}: has no split {split!r}; there: {', '.join(splits_of(path)) or 'none'}")
    root = path if path.is_dir() else path.parent
    tree = read_tree_file(root / file.tree) if file.tree else None
    return DataSet(str(path), root, _classes(path, root, file), sources, tree)


def splits_of(path: str | Path) -> list[Split]:
    """The splits that a data set has; ``train`` alone for one that is not divided. See `open_data`."""
    file = _read(Path(path))
    return ["train"] if file.undivided else [split for split in SPLITS if getattr(file, split)]


def _read(path: Path) -> _Divided:
    """What the user points at, as a data-set file."""
    if not path.exists():
        raise DataError(f"{path}: must exist; there is no such file or folder")
    if path.is_dir():
        return _single_sources(_recognise(path))
    match path.suffix:
        case ".yaml" | ".yml":
            return _read_file(path)
        case ".data":
            return _of_lists(*read_darknet_data(path))
        case ".json":
            return _single_sources({"": {"format": "coco", "path": path.name, "images": _coco_images(path)}})
        case _:
            raise DataError(f"{path}: must be a data set: a folder, or a .yaml, .data or COCO .json file")


class _Divided(DataSetFile):
    """A data-set file, or what stands for one; ``undivided`` are sources that are taken whole for every split."""

    undivided: list[Source] = Field(default_factory=list)


def _single_sources(by_split: Mapping[str, Mapping[str, str]]) -> _Divided:
    return _Divided.model_validate({split or "undivided": [source] for split, source in by_split.items()})


def _classes(path: Path, root: Path, file: _Divided) -> tuple[str, ...]:
    """The classes that the file names, else all that its sources hold, of every split, mapped."""
    if isinstance(file.classes, str):
        named = read_names(root / file.classes)
    elif file.classes is not None:
        named = tuple(file.classes)
    else:
        every = [*(source for split in SPLITS for source in getattr(file, split)), *file.undivided]
        held = {source.map.get(name, name): None for source in every for name in source.class_names(root)}
        named = tuple(held)
    if not named:
        raise ConfigError(f"{path}: must name its classes (classes: [...]): its sources do not")
    repeated = next((name for name in named if named.count(name) > 1), None) if len(set(named)) < len(named) else None
    if repeated is not None:
        raise ConfigError(f"{path}: classes must be named once, {repeated!r} is named {named.count(repeated)} times")
    return named


def _read_file(path: Path) -> _Divided:
    text = "\n".join(read_lines(path))
    try:
        contents = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: must be YAML: {' '.join(str(error).split())}") from None
    if not isinstance(contents, dict):
        raise ConfigError(f"{path}: must be YAML with keys such as classes, train, val")
    if "names" in contents:
        return _of_lists(*read_yolo_yaml(path))
    try:
        return _Divided(**dict(DataSetFile.model_validate(contents)))
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe_errors(error)}") from None


def _of_lists(names: Sequence[str], splits: Mapping[str, Sequence[Path]]) -> _Divided:
    """Of Darknet's and YOLO's files: each split is some folders and lists, with one set of names."""
    sources = {
        split: [{"format": "darknet", "path": str(path.resolve()), "names": list(names)} for path in paths]
        for split, paths in splits.items()
    }
    return _Divided.model_validate({"classes": list(names), **sources})


def _recognise(folder: Path) -> dict[str, dict[str, str]]:
    """What a folder holds: for each split its one source, or under ``""`` one that is not divided into splits."""
    divided: dict[str, dict[str, str]]
    if (folder / "Annotations").is_dir():
        lists = {split: _voc_list(folder, split) for split in SPLITS}
        divided = {split: {"format": "voc", "path": ".", "list": file} for split, file in lists.items() if file}
        return divided or {"": {"format": "voc", "path": "."}}
    if (folder / "labels").is_dir() or any((folder / split / "labels").is_dir() for split in SPLITS):
        names = _darknet_names(folder)
        places = {split: _darknet_folder(folder, split) for split in SPLITS}
        divided = {split: {"format": "darknet", "path": place} | names for split, place in places.items() if place}
        return divided or {"": {"format": "darknet", "path": "images"} | names}
    divided = {split: {"format": "folder", "path": split} for split in SPLITS if (folder / split).is_dir()}
    if divided:
        return divided
    if any(child.is_dir() for child in folder.iterdir()):
        return {"": {"format": "folder", "path": "."}}
    raise DataError(f"{folder}: must hold a data set: Annotations/, or images/ and labels/, or a folder for each class")


def _voc_list(folder: Path, split: Split) -> str | None:
    places = (f"ImageSets/Main/{split}.txt", f"ImageSets/{split}.txt")
    return next((place for place in places if (folder / place).is_file()), None)


def _darknet_folder(folder: Path, split: Split) -> str | None:
    places = (f"{split}/images", f"images/{split}")
    return next((place for place in places if (folder / place).is_dir()), None)


def _darknet_names(folder: Path) -> dict[str, str]:
    for name in ("classes.txt", "obj.names", "classes.names"):
        if (folder / name).is_file():
            return {"names": name}
    raise DataError(f"{folder}: must name its classes, one a line, in classes.txt")


def _coco_images(path: Path) -> str:
    """The folder of a COCO file's images, as COCO lays it out or beside the file."""
    name = path.stem.removeprefix("instances_")
    places = (f"../{name}", f"../images/{name}", "../images", "images", f"images/{name}")
    return next((place for place in places if (path.parent / place).is_dir()), ".")
