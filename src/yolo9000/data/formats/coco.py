"""COCO: one JSON file with lists of images, annotations and categories, and a folder of images.

The file is read element by element, its lists in any order, and of each object only numbers are kept: a file of 450 MB,
as that of COCO's train2017, needs about 250 MB of memory.

COCO's own 80 categories have the ids 1 to 90, with gaps. Classes here are numbered 0, 1, 2 ... in the order of the
categories' ids, which makes of COCO's the usual 80.
"""

from __future__ import annotations

import json
import math
import posixpath
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, ClassVar, Final, Literal

import numpy as np
from jaxtyping import Float64, Int64

from yolo9000.data.coco_contents import (
    LISTS,
    CocoContents,
    CocoImage,
    CocoObject,
    image_name,
    names_by_id,
    read_categories,
    read_contents,
    rows_of,
)
from yolo9000.data.faultless import FaultlessBoxes
from yolo9000.data.format import Recognition, SourceSettings, Split
from yolo9000.data.image_files import check_declared_size, duplicate_image, find_image, size_of
from yolo9000.data.image_folders import NAMES_TRIED, folder_of_images
from yolo9000.data.issues import IssueError, RawBox, make_boxes, make_issue
from yolo9000.data.json_stream import list_elements
from yolo9000.data.labels import ClassIndices
from yolo9000.data.listing import Listing
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.data.writing import boxes_to_write, copied, size_to_write, writing
from yolo9000.errors import DataError
from yolo9000.io.files import replacing
from yolo9000.io.naming import OutputNames
from yolo9000.taxonomy.class_names import COCO, COCO_CATEGORY_IDS
from yolo9000.types import Annotation, BoxAnnotations, ImageFile, Issue, Sample

__all__ = [
    "NAME",
    "TITLE",
    "Source",
    "category_ids",
    "class_names",
    "coco_classes",
    "read",
    "read_coco",
    "sniff",
    "write",
    "write_coco",
]

NAME: Final = "coco"
TITLE = "COCO JSON"

_ROBOFLOW_FILE = "_annotations.coco.json"
_PREFIXES = ("instances_", "person_keypoints_", "annotations_", "_annotations.", "lvis_v1_", "lvis_v0.5_")
_NOT_BOXES = ("captions_", "panoptic_", "image_info_", "stuff_")
_MAX_DOCUMENTS = 60
_INFO = {"description": "written by yolo9000", "version": "1.0"}
_DARKNET_NAMES = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}
"""What Darknet's ``coco.names`` calls six of COCO's categories."""


class Source(SourceSettings):
    """A COCO JSON file.

    Attributes:
        images: folder that the names of images are relative to, itself relative to the data-set file.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images")
    format: Literal["coco"] = NAME
    images: str


# --- Recognizing. ---


def sniff(listing: Listing) -> Recognition | None:
    """JSON files with ``images``, ``annotations`` and ``categories``, in the folder or one or two below."""
    documents = [name for name in listing.documents(".json")[:_MAX_DOCUMENTS] if _is_coco(listing, name)]
    if not documents:
        return None
    files = _files_by_split(documents) if listing.file is None else {UNDIVIDED: listing.file}
    if not files:
        some = ", ".join(documents[:3])
        raise DataError(f"{listing.root}: holds {len(documents)} COCO files ({some} ...): point at one of them")
    sources = {split: [_source_of(listing, file)] for split, file in files.items()}
    counts = {_shown_split(file): _image_count(listing, file) for file in files.values()}
    roboflow = all(file.endswith(_ROBOFLOW_FILE) for file in files.values())
    used = {
        part for matches in sources.values() for path in _used_by(listing, matches[0]) for part in _first_part(path)
    }
    return Recognition(
        0.95,
        "Roboflow COCO export" if roboflow else TITLE,
        f"{', '.join(files.values())}: images, annotations and categories",
        sources,
        counts,
        used=frozenset(used),
    )


def _is_coco(listing: Listing, file: str) -> bool:
    name = PurePosixPath(file).name
    if listing.file is None and name.startswith(_NOT_BOXES):
        return False
    peek = listing.json(file)
    if peek.is_list:
        return False
    wanted = {"images", "annotations", "categories"}
    return wanted <= peek.keys if peek.value is not None else "images" in peek.keys or len(wanted & peek.keys) > 1


def _files_by_split(documents: Sequence[str]) -> dict[str, str]:
    """The file of each split; of one that is not divided under ``""``; nothing where that is not clear."""
    matches: dict[str, list[str]] = {}
    for file in documents:
        matches.setdefault(_split_of_file(file), []).append(file)
    if len(matches) > 1:
        matches.pop(UNDIVIDED, None)
    best = {split: sorted(files, key=_rank) for split, files in matches.items()}
    if any(len(files) > 1 and _rank(files[0])[:2] == _rank(files[1])[:2] for files in best.values()):
        return {}
    return {split: best[split][0] for split in ("train", "val", "test", UNDIVIDED) if split in best}


def _split_of_file(file: str) -> str:
    path = PurePosixPath(file)
    return split_of(path.stem) or split_of(path.parent.name) or UNDIVIDED


def _rank(file: str) -> tuple[bool, bool, str]:
    name = PurePosixPath(file).name
    return "keypoints" in name, "trainval" in name, file


def _shown_split(file: str) -> str:
    path = PurePosixPath(file)
    return path.parent.name if path.name == _ROBOFLOW_FILE else _without_prefix(path.stem)


def _without_prefix(stem: str) -> str:
    return next((stem.removeprefix(prefix) for prefix in _PREFIXES if stem.startswith(prefix)), stem)


def _image_count(listing: Listing, file: str) -> int | None:
    value = listing.json(file).value
    images = value.get("images") if isinstance(value, dict) else None
    return len(images) if isinstance(images, list) else None


def _source_of(listing: Listing, file: str) -> dict[str, str]:
    names = _first_names(listing, file)
    folder, _ = folder_of_images(listing, file, names, _without_prefix(PurePosixPath(file).stem))
    return {"format": NAME, "path": file, "images": folder}


def _first_names(listing: Listing, file: str) -> list[str]:
    value = listing.json(file).value
    if isinstance(value, dict):
        images = value.get("images")
        elements = iter(images if isinstance(images, list) else [])
    else:
        elements = (element for key, _, element in list_elements(listing.root / file, LISTS, TITLE) if key == "images")
    return [name for element in islice(elements, NAMES_TRIED) if (name := image_name(element))]


def _used_by(listing: Listing, source: dict[str, str]) -> list[str]:
    """The file, the folder of images, and where names such as ``images/a.jpg`` lead from it."""
    names = [posixpath.normpath(f"{source['images']}/{name}") for name in _first_names(listing, source["path"])]
    return [source["path"], source["images"], *names]


def _first_part(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    return parts[:1]


# --- Reading. ---


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The categories in the order of their ids."""
    return coco_classes(root / source.path)


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """See `read_coco`."""
    shapes = source.boxes_from_shapes
    yield from read_coco(root / source.path, root / source.images, classes, boxes_from_shapes=shapes)


def read_coco(
    json_file: Path, images_folder: Path, classes: Sequence[str] | None = None, *, boxes_from_shapes: bool = False
) -> Iterator[Annotation]:
    """The images of a COCO data set in the order of the file, those without objects among them.

    First come the issues that belong to no image. Of an object ``bbox``, ``category_id``, ``area`` and ``iscrowd``
    are read, and ``ignore``, which converters write for VOC's difficult ones.

    Args:
        json_file: ``instances_*.json``.
        images_folder: what ``file_name`` is relative to.
        classes: names whose places are the labels, COCO's own or those of Darknet's ``coco.names``; None takes
            `coco_classes`.
        boxes_from_shapes: an object without ``bbox`` gets the box around its ``segmentation``.

    Raises:
        DataError: the file cannot be read or understood, lacks one of its lists, or has a category that cannot be used
            or is there twice; a class is named twice.
    """
    contents = read_contents(json_file, boxes_from_shapes=boxes_from_shapes)
    names = names_by_id(contents.categories)
    reader = _Reader(images_folder, contents, ClassIndices(names if classes is None else classes))
    yield from reader.read_loose()
    for image in contents.images:
        yield reader.read(image)


def coco_classes(json_file: Path) -> tuple[str, ...]:
    """The names of the categories in the order of their ids.

    Raises:
        DataError: the file cannot be read or understood, or has a category that cannot be used or is there twice.
    """
    return names_by_id(read_categories(json_file))


def category_ids(json_file: Path, classes: Sequence[str] | None = None) -> dict[int, int]:
    """From label to the category id of the file, as its results must have it.

    Args:
        json_file: ``instances_*.json``.
        classes: as for `read_coco`; those that the file does not know are left out.

    Raises:
        DataError: as of `coco_classes`; a class is named twice.
    """
    categories = read_categories(json_file)
    indices = ClassIndices(names_by_id(categories) if classes is None else classes)
    known = ((category, _name_among(indices, name)) for category, name in sorted(categories.items()))
    return {indices.of(name, str(json_file)): category for category, name in known if name in indices}


def write(
    folder: Path,
    samples: Iterable[Sample],
    classes: Sequence[str],
    split: Split,
    *,
    copy: bool = True,
    names: OutputNames | None = None,
) -> None:
    """Write ``annotations/<split>.json`` and, unless they are only referred to, the images into ``images/<split>``.

    Raises:
        DataError: see `write_coco`.
    """
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    position = folder / "images" / split if copy else None
    write_coco(folder / "annotations" / f"{split}.json", copied(samples, position), classes)


def write_coco(file: Path, samples: Iterable[Sample], classes: Sequence[str]) -> None:
    """Write a data set as COCO; images stay where they are, ``file_name`` is the sample's name.

    Images keep their ids; without one they get the next number that is free. The categories of COCO's 80 classes, by
    its names or Darknet's, get COCO's ids, 1 to 90; others 1, 2, 3 ... Difficult boxes are marked ``ignore``.

    Args:
        file: where to; written whole or not at all.
        samples: all with boxes.
        classes: the names of the labels.

    Raises:
        DataError: a sample without boxes, an image whose size is not known and cannot be read, an id that is there
            twice, or the file cannot be written.
    """
    with (
        writing(file),
        replacing(file) as part,
        part.open("w", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=file.parent) as objects,
    ):
        _write_all(out, objects, samples, classes)


# --- Images with their objects. ---


def _name_among(indices: ClassIndices, name: str) -> str:
    return name if name in indices else _DARKNET_NAMES.get(name, name)


class _Reader:
    """Joins images with their objects."""

    def __init__(self, folder: Path, contents: CocoContents, indices: ClassIndices) -> None:
        self._folder = folder
        self._contents = contents
        self._indices = indices
        self._paths: set[Path] = set()
        rows = rows_of(contents)
        self._rows = rows[np.argsort(rows[:, 2], kind="stable")]
        self._image_ids = self._rows[:, 2].astype(np.int64)
        left_top, size = self._rows[:, 4:6], self._rows[:, 6:8]
        crowd, difficult = self._rows[:, 9] == 1, self._rows[:, 10] == 1
        self._faultless = FaultlessBoxes(
            self._image_ids,
            np.concatenate([left_top, left_top + size], axis=1),
            self._labels_of(self._rows[:, 3]),
            difficult,
            crowd,
            self._rows[:, 8],
        )

    def _labels_of(self, category_ids: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The label of each; -1 for those that are no category or no class."""
        known, positions = np.unique(category_ids, return_inverse=True)
        names = [_name_among(self._indices, self._contents.categories.get(int(category), "")) for category in known]
        labels = [self._indices.of(name, "") if name in self._indices else -1 for name in names]
        return np.array(labels, np.int64)[positions]

    def read_loose(self) -> Iterator[Annotation]:
        """The issues of no image, and the objects of images that are not there."""
        known = {image.id for image in self._contents.images}
        for image_id, issues in self._contents.issues.items():
            if image_id not in known:
                yield from (Annotation(None, (issue,)) for issue in issues)
        for row in self._rows[~np.isin(self._image_ids, list(known))]:
            item = CocoObject(*row.tolist())
            where = f"{self._contents.file}: annotations[{item.position:.0f}]"
            message = f"image_id must be that of an image, got {item.image_id:.0f}"
            suggestion = "delete the object, or add its image"
            yield Annotation(None, (make_issue("id-unknown", where, message, suggestion, fixable=True),))

    def read(self, image: CocoImage) -> Annotation:
        """One image with its objects."""
        where = f"{self._contents.file}: images[{image.position}]"
        issues = list(self._contents.issues.get(image.id, []))
        try:
            file = ImageFile(find_image(self._folder, image.file_name, where))
            size_wh = self._size(image, file, where, issues)
        except IssueError as error:
            return Annotation(None, (error.issue, *issues))
        if file.path in self._paths:
            return Annotation(None, (duplicate_image(image.file_name, where), *issues))
        self._paths.add(file.path)
        try:
            boxes, box_issues = self._boxes(image.id, size_wh, issues)
        except IssueError as error:
            return Annotation(None, (error.issue, *issues))
        name = image.file_name.replace("\\", "/")
        sample = Sample(name, file, where, size_wh, boxes, image_id=image.id, exhaustive=self._exhaustive(image))
        return Annotation(sample, (*issues, *box_issues))

    def _exhaustive(self, image: CocoImage) -> tuple[int, ...] | None:
        """LVIS: the classes that are labelled everywhere in the image or nowhere in it."""
        if image.not_exhaustive is None:
            return None
        known = {int(category) for category in self._rows_of(image.id)[:, 3]} | set(image.negative)
        names = self._contents.categories
        wanted = [names[category] for category in known - set(image.not_exhaustive) if category in names]
        labels = {self._indices.of(_name_among(self._indices, name), "") for name in wanted if name in self._indices}
        return tuple(sorted(labels))

    def _size(self, image: CocoImage, file: ImageFile, where: str, issues: list[Issue]) -> tuple[int, int]:
        size_wh = size_of(file, where)
        if image.size_wh is not None:
            try:
                check_declared_size(image.size_wh, size_wh, where)
            except IssueError as error:
                if not error.issue.fixable:
                    raise
                issues.append(error.issue)
        return size_wh

    def _boxes(
        self, image_id: int, size_wh: tuple[int, int], issues: list[Issue]
    ) -> tuple[BoxAnnotations, list[Issue]]:
        boxes = self._faultless.of(image_id, size_wh)
        if boxes is not None:
            return boxes, []
        return make_boxes(self._raw_boxes(self._rows_of(image_id), issues), size_wh)

    def _rows_of(self, image_id: int) -> Float64[np.ndarray, "n 11"]:
        first, last = np.searchsorted(self._image_ids, [image_id, image_id + 1])
        return self._rows[first:last]

    def _raw_boxes(self, rows: Float64[np.ndarray, "n 11"], issues: list[Issue]) -> list[RawBox]:
        raw = []
        for row in rows.tolist():
            try:
                raw.append(self._raw_box(CocoObject(*row)))
            except IssueError as error:
                issues.append(error.issue)
        return raw

    def _raw_box(self, item: CocoObject) -> RawBox:
        where = f"{self._contents.file}: annotations[{item.position:.0f}]"
        name = self._contents.categories.get(int(item.category_id))
        if name is None:
            message = f"category_id must be that of a category, got {item.category_id:.0f}"
            suggestion = "correct it, or add the category"
            raise IssueError(make_issue("class-unknown", where, message, suggestion, fixable=True))
        return RawBox(
            self._indices.of(_name_among(self._indices, name), where),
            item.left,
            item.top,
            item.left + item.width,
            item.top + item.height,
            where,
            f"bbox [{item.left:g}, {item.top:g}, {item.width:g}, {item.height:g}]",
            difficult=item.difficult == 1,
            crowd=item.crowd == 1,
            area=None if math.isnan(item.area) else item.area,
        )


# --- Writing. ---


def _write_all(out: IO[str], objects: IO[str], samples: Iterable[Sample], classes: Sequence[str]) -> None:
    """Images go out at once; objects wait in a file of their own until the images are through."""
    ids = _ids_to_write(classes)
    used: set[int] = set()
    next_id, object_id = 1, 0
    out.write(f'{{"info": {json.dumps(_INFO)},\n"licenses": [],\n"images": [')
    for sample in samples:
        while sample.image_id is None and next_id in used:
            next_id += 1
        image_id = next_id if sample.image_id is None else sample.image_id
        if image_id in used:
            raise DataError(f"{sample.where}: must have an image id of its own, {image_id} was there before")
        width, height = size_to_write(sample)
        image = {"id": image_id, "file_name": sample.name, "width": width, "height": height}
        out.write((",\n" if used else "\n") + json.dumps(image))
        used.add(image_id)
        for record in _objects_to_write(sample, image_id, ids):
            object_id += 1
            objects.write((",\n" if object_id > 1 else "\n") + json.dumps({"id": object_id} | record))
    out.write('\n],\n"annotations": [')
    objects.seek(0)
    shutil.copyfileobj(objects, out)
    categories = [{"id": ids[label], "name": name, "supercategory": ""} for label, name in enumerate(classes)]
    out.write(f'\n],\n"categories": {json.dumps(categories)}}}\n')


def _ids_to_write(classes: Sequence[str]) -> dict[int, int]:
    if tuple(_DARKNET_NAMES.get(name, name) for name in classes) == COCO:
        return COCO_CATEGORY_IDS
    return {label: label + 1 for label in range(len(classes))}


def _objects_to_write(sample: Sample, image_id: int, ids: dict[int, int]) -> Iterator[dict[str, Any]]:
    boxes = boxes_to_write(sample, "COCO")
    for position, (left, top, right, bottom) in enumerate(boxes.boxes_xyxy.tolist()):
        record = {
            "image_id": image_id,
            "category_id": ids[int(boxes.labels[position])],
            "bbox": [left, top, right - left, bottom - top],
            "area": float(boxes.areas[position]),
            "iscrowd": int(boxes.crowd[position]),
            "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
        }
        yield record | {"ignore": 1} if boxes.difficult[position] else record
