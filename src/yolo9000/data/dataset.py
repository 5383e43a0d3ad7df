"""A data set: where its images and labels are, what its classes are called, and what it labels exhaustively.

It is described by a data-set file, see `dataset_file`, or recognized from what the user points at, see `recognize`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from yolo9000.choices import OnError
from yolo9000.data.dataset_file import DataSetFile, Described, Source, read_description
from yolo9000.data.format import SPLITS, SourceSettings, Split
from yolo9000.data.formats import FORMATS, coco
from yolo9000.data.issues import make_issue, shown
from yolo9000.data.ledger import Ledger
from yolo9000.data.soft_labels import SoftLabels, read_soft_labels
from yolo9000.data.split_names import UNDIVIDED
from yolo9000.errors import ConfigError, DataError, nearest
from yolo9000.io.files import read_lines
from yolo9000.taxonomy.class_names import COCO, COCO_CATEGORY_IDS
from yolo9000.taxonomy.files import read_names, read_tree
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Annotation, Sample

__all__ = [
    "SPLITS",
    "DataSet",
    "DataSetFile",
    "Ledger",
    "OnError",
    "Source",
    "Split",
    "open_data",
    "open_splits",
    "splits_of",
]


@dataclass(frozen=True)
class DataSet:
    """One split of a data set.

    Attributes:
        name: what to call it in messages.
        root: folder that the sources' paths are relative to.
        classes: names; a label is a place among them.
        sources: where the images and labels are.
        tree: the label tree, if one was given.
        description: what was recognized, one line for people; nothing for a data-set file.
        kept: index of the source and name of the samples that belong to the split; None: all.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    sources: tuple[SourceSettings, ...]
    tree: WordTree | None = None
    description: str = ""
    kept: frozenset[tuple[int, str]] | None = None

    def only(self, samples: Iterable[Sample]) -> DataSet:
        """The part of the data set that has these samples."""
        return replace(self, kept=frozenset((sample.source, sample.name) for sample in samples))

    def exhaustive(self, source: int) -> Bool[np.ndarray, " k"]:
        """Which classes the source labels exhaustively: only of these does an image without a label mean "none".

        A class whose objects are left out is none of them.
        """
        chosen, classes = self.sources[source], np.array(self.classes)
        stated = chosen.exhaustive
        known = np.isin(classes, stated) if isinstance(stated, list) else np.full(len(classes), stated == "all")
        return known & ~np.isin(classes, [chosen.map.get(name, name) for name in chosen.left_out])

    def exhaustive_in(self, sample: Sample) -> Bool[np.ndarray, " k"]:
        """Which classes are labelled exhaustively in an image: those of its source, unless it says so itself."""
        if sample.exhaustive is None:
            return self.exhaustive(sample.source)
        return np.isin(np.arange(len(self.classes)), sample.exhaustive)

    def annotations(self) -> Iterator[Annotation]:
        """Every image's annotation, source by source, with its issues."""
        for position, source in enumerate(self.sources):
            names, indices = self._names_of(source)
            changed = None if np.array_equal(indices, np.arange(len(indices))) else indices
            annotations = FORMATS[source.format].read(self.root, source, names)
            if source.only is not None:
                annotations = _only(annotations, self.root / source.only)
            for annotation in annotations:
                if self._keeps(position, annotation):
                    yield _renumbered(self._with_soft_labels(annotation, position), changed, position)

    @cached_property
    def soft_labels(self) -> SoftLabels:
        """The soft labels that its sources name: of its classes, or of the nodes of its tree.

        Raises:
            DataError: see `read_soft_labels`.
        """
        sources = enumerate(self.sources)
        files = {position: self.root / source.soft_labels for position, source in sources if source.soft_labels}
        classes = {name: number for number, name in enumerate(self.classes)}

        def number_of(source: int, name: str) -> int:
            name = self.sources[source].map.get(name, name)
            if self.tree is not None:
                return self.tree.find(name)
            if name not in classes:
                raise DataError(f"{name!r} must be one of the {len(classes)} classes{nearest(name, classes)}")
            return classes[name]

        return read_soft_labels(files, number_of)

    def _with_soft_labels(self, annotation: Annotation, source: int) -> Annotation:
        if annotation.sample is None or not self.soft_labels.images:
            return annotation
        return replace(annotation, sample=self.soft_labels.attach(annotation.sample, source))

    def _keeps(self, source: int, annotation: Annotation) -> bool:
        if self.kept is None:
            return True
        return annotation.sample is not None and (source, annotation.sample.name) in self.kept

    def samples(self, on_error: OnError = "error", ledger: Ledger | None = None) -> Iterator[Sample]:
        """Every usable image.

        Args:
            on_error: what to do with an image whose annotation has an issue.
            ledger: counts what is left out and changed.

        Raises:
            DataError: ``on_error`` is ``error`` and there is an issue: the first one, with a suggestion. Or all images
                were left out.
        """
        ledger = Ledger() if ledger is None else ledger
        yield from self._usable(on_error, ledger)
        if ledger and not ledger.images_out:
            first = ledger.issues[0]
            raise DataError(f"{self.name}: nothing is left: {'; '.join(ledger.lines())}; the first: {first}")

    def _usable(self, on_error: OnError, ledger: Ledger) -> Iterator[Sample]:
        for annotation in self.annotations():
            if annotation.issues and on_error == "error":
                issue = annotation.issues[0]
                raise DataError(
                    f"{issue}; {issue.suggestion} (`yolo9000 data check` lists all, `on_error` skip or fix continues)"
                )
            fixed = on_error == "fix" and all(issue.fixable for issue in annotation.issues)
            used = annotation.sample is not None and (not annotation.issues or fixed)
            ledger.add(annotation, used=used)
            if annotation.sample is not None and used:
                yield annotation.sample

    def count_issues(self, on_error: OnError) -> Ledger:
        """What `samples` would leave out or change, without an error; all counts are 0 for ``error``."""
        ledger = Ledger()
        if on_error != "error":
            for _ in self._usable(on_error, ledger):
                pass
        return ledger

    def source_entry(self, index: int, folder: Path) -> dict[str, Any]:
        """A source as a data-set file in another folder would name it, labels as here."""
        source = self.sources[index]
        entry = {"format": source.format} | source.model_dump(exclude_defaults=True)
        for key in (*source.FILES, "only", "soft_labels"):
            if isinstance(entry.get(key), str):
                entry[key] = Path(os.path.relpath((self.root / entry[key]).absolute(), folder.resolve())).as_posix()
        return entry | ({"names": list(self.classes)} if source.by_index else {})

    def with_boxes_from_shapes(self) -> DataSet:
        """The same, with outlines read as their enclosing boxes."""
        return replace(
            self, sources=tuple(source.model_copy(update={"boxes_from_shapes": True}) for source in self.sources)
        )

    def image_folders(self) -> list[Path]:
        """The folders that its images may be in: what was recognized, else those of its sources."""
        if self.description and Path(self.name).is_dir():
            return [self.root]
        keys = (getattr(source, "images", None) or source.path for source in self.sources)
        positions = [self.root / key for key in keys]
        return [position for position in positions if position.is_dir()]

    def category_ids(self) -> dict[int, int]:
        """COCO's category id of each label, for results files.

        COCO's own for its 80 classes; those of a COCO JSON that is the only source; else the labels themselves.
        """
        only = self.sources[0] if len(self.sources) == 1 else None
        if self.classes == COCO:
            return COCO_CATEGORY_IDS
        if only is not None and only.format == coco.NAME and not only.map and not only.leave_out:
            return coco.category_ids(self.root / only.path, self.classes)
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

    def _names_of(self, source: SourceSettings) -> tuple[tuple[str, ...], Int64[np.ndarray, " n"]]:
        """The source's own names of classes, and the data set's number of each; -1 for those that are left out."""
        asked = source.knows_classes or source.leave_out
        own = tuple(FORMATS[source.format].class_names(self.root, source)) if asked else ()
        names = own or (*self.classes, *(name for name in source.map if name not in self.classes))
        position = {name: number for number, name in enumerate(self.classes)}
        indices = []
        for name in names:
            wanted = source.map.get(name, name)
            if wanted not in position and name not in source.left_out and source.leave_out != "others":
                close = nearest(wanted, self.classes)
                raise ConfigError(f"{self.name}: {wanted!r} must be one of the classes, or in leave_out{close}")
            indices.append(LEFT_OUT if name in source.left_out else position.get(wanted, LEFT_OUT))
        return names, np.array(indices, np.int64)


LEFT_OUT = -1


def _only(annotations: Iterator[Annotation], file: Path) -> Iterator[Annotation]:
    """The annotations of the images that a file lists; then an issue for each listed image that did not come.

    Records without an image are those of other images, or come as such an issue.
    """
    wanted = dict.fromkeys(name for line in read_lines(file) if (name := line.strip()))
    for annotation in annotations:
        if annotation.sample is not None and annotation.sample.name in wanted:
            del wanted[annotation.sample.name]
            yield annotation
    for name in wanted:
        message = f"its image {shown(name)} must be one that can be read, is not"
        yield Annotation(
            None, (make_issue("image-missing", file, message, "look at it with data check, or take it out"),)
        )


def _renumbered(annotation: Annotation, indices: Int64[np.ndarray, " n"] | None, source: int) -> Annotation:
    """The annotation with its labels changed from the source's numbers to the data set's; None: they are the same."""
    sample = annotation.sample
    if sample is None:
        return annotation
    if indices is None:
        return annotation if source == sample.source else replace(annotation, sample=replace(sample, source=source))
    boxes = sample.boxes
    if boxes is not None:
        labels = indices[boxes.labels]
        boxes = replace(boxes.select(labels != LEFT_OUT), labels=labels[labels != LEFT_OUT])
    image_labels = _among(indices, sample.image_labels)
    known = None if sample.exhaustive is None else _among(indices, sample.exhaustive)
    changed = replace(sample, boxes=boxes, image_labels=image_labels, source=source, exhaustive=known)
    return replace(annotation, sample=changed)


def _among(indices: Int64[np.ndarray, " n"], labels: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({int(indices[label]) for label in labels} - {LEFT_OUT}))


def open_data(path: str | Path, split: Split = "train") -> DataSet:
    """Open one split of a data set.

    Args:
        path: a data-set file; or a file, folder or archive of any format, see `recognize`; ``FORMAT:PATH`` where the
            format is not clear.
        split: the split; what is not divided is taken whole for every one.

    Raises:
        ConfigError: the file is wrong, or has no such split.
        DataError: a file cannot be read, or nothing is recognized.

    Example:
        A folder for each class:

        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from yolo9000 import open_dataset
        >>> for name in ("cat", "dog"):
        ...     (Path("pets") / name).mkdir(parents=True)
        ...     Image.new("RGB", (64, 48)).save(Path("pets") / name / "1.png")
        >>> open_dataset("pets").classes
        ('cat', 'dog')
    """
    described = read_description(path)
    sources = _sources(path, described, split)
    classes = _classes(path, described)
    if not classes:
        raise ConfigError(f"{path}: must have objects or name its classes, has and does neither")
    return _data_set(path, described, sources, classes)


def open_splits(path: str | Path) -> dict[Split, DataSet]:
    """Open all splits of a data set; what is not divided is called ``train``.

    Where no image has an object and nothing names classes, there are none. Errors as of `open_data`.
    """
    described = read_description(path)
    classes = _classes(path, described)
    splits = {split: _sources(path, described, split) for split in described.splits}
    return {split: _data_set(path, described, sources, classes) for split, sources in splits.items()}


def splits_of(path: str | Path) -> list[Split]:
    """The splits that a data set has; ``train`` alone for one that is not divided. See `open_data`."""
    return read_description(path).splits


def _sources(path: str | Path, described: Described, split: Split) -> tuple[SourceSettings, ...]:
    sources = tuple(described.sources.get(split) or described.sources.get(UNDIVIDED) or ())
    if not sources:
        raise ConfigError(f"{path}: has no split {split!r}; there: {', '.join(described.splits) or 'none'}")
    return sources


def _data_set(
    path: str | Path, described: Described, sources: tuple[SourceSettings, ...], classes: tuple[str, ...]
) -> DataSet:
    tree = read_tree(described.root / described.tree) if described.tree else None
    return DataSet(str(path), described.root, classes, sources, tree, described.description)


def _classes(path: str | Path, described: Described) -> tuple[str, ...]:
    """The classes that the file names, else all that its sources hold, of every split, mapped."""
    if isinstance(described.classes, str):
        named = read_names(described.root / described.classes)
    elif described.classes is not None:
        named = tuple(described.classes)
    else:
        held = {
            source.map.get(name, name): None for source in described.all_sources() for name in _held(source, described)
        }
        named = tuple(held)
    if not named and any(source.by_index for source in described.all_sources()):
        raise ConfigError(
            f"{path}: must name its classes (classes: [...], or one a line in classes.txt): its sources do not"
        )
    repeated = next((name for name in named if named.count(name) > 1), None) if len(set(named)) < len(named) else None
    if repeated is not None:
        raise ConfigError(f"{path}: classes must be named once, {repeated!r} is named {named.count(repeated)} times")
    return named


def _held(source: SourceSettings, described: Described) -> list[str]:
    """The classes that a source names, mapped, without those that are left out."""
    names = FORMATS[source.format].class_names(described.root, source)
    return [source.map.get(name, name) for name in names if name not in source.left_out]
