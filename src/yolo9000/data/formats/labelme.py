"""LabelMe: a JSON file beside each image, with shapes as lists of points."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from math import hypot
from pathlib import Path
from typing import Any, Final, Literal

from yolo9000.data.entries import Entry, Shape, annotations_of, class_names_of, read_json, syntax_issue, values_in
from yolo9000.data.files import is_file, walk_files, whole_side
from yolo9000.data.format import Recognition, SourceSettings, Split
from yolo9000.data.image_files import is_image
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing, join
from yolo9000.data.shapes import Corners
from yolo9000.data.split_names import UNDIVIDED
from yolo9000.data.writing import boxes_to_write, copied, size_to_write, writing
from yolo9000.io.files import write_atomically
from yolo9000.io.naming import OutputNames
from yolo9000.types import Annotation, Issue, Sample

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write"]

NAME: Final = "labelme"
TITLE: Final = "LabelMe JSON"

_VERSION = "5.5.0"  # of the program whose files these are like


class Source(SourceSettings):
    """A folder of images with a JSON file beside each; images without one have no objects nobody knows of."""

    format: Literal["labelme"] = NAME


def sniff(listing: Listing) -> Recognition | None:
    """JSON files with ``shapes`` and ``imagePath``, in the folder or in split folders."""
    if listing.file is not None:
        return None
    splits = {split: folder for split, folder in listing.split_folders().items() if _is_labelme(listing, folder)}
    folders = splits or ({UNDIVIDED: ""} if _is_labelme(listing, "", deep=True) else {})
    if not folders:
        return None
    sources = {split: [{"format": NAME, "path": folder or "."}] for split, folder in folders.items()}
    counts = {folder or "images": listing.image_count(folder) for folder in folders.values()}
    used = frozenset(splits.values()) if splits else frozenset([*listing.files(), *listing.folders()])
    return Recognition(0.9, TITLE, "JSON files with shapes and imagePath", sources, counts, used=used)


def _is_labelme(listing: Listing, folder: str, deep: bool = False) -> bool:
    names = [join(folder, name) for name in listing.files(folder, ".json")[:3]]
    if not names and deep:
        names = [
            join(below, name) for below in listing.folders(folder)[:5] for name in listing.files(below, ".json")[:3]
        ]
    peeks = [listing.json(name).keys for name in names]
    return any({"shapes", "imagePath"} <= keys for keys in peeks)


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The labels of all shapes, sorted; of files that can be read."""
    return class_names_of(_readable(root / source.path))


def _readable(folder: Path) -> Iterator[Entry]:
    for item in walk_files(folder):
        if isinstance(item, Path) and item.suffix.lower() == ".json":
            try:
                yield _entry(item, folder)
            except IssueError:
                continue


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every JSON file in the order of the names, then an issue for each image without one."""
    folder = root / source.path
    yield from annotations_of(_entries(folder), folder, classes, boxes_from_shapes=source.boxes_from_shapes)


def _entries(folder: Path) -> Iterator[Entry]:
    images = []
    for item in walk_files(folder):
        if isinstance(item, Issue):
            yield Entry((), item.where, issues=[item])
        elif item.suffix.lower() == ".json":
            try:
                yield _entry(item, folder)
            except IssueError as error:
                yield Entry((), str(item), issues=[error.issue])
        elif is_image(item):
            images.append(item)
    for image in images:
        if not is_file(image.with_suffix(".json")):
            message = f"an image must have a JSON file, there is no {image.with_suffix('.json').name}"
            issue = make_issue("label-missing", image, message, "annotate the image, or move it elsewhere")
            yield Entry((), str(image), issues=[issue])


def _entry(file: Path, folder: Path) -> Entry:
    record = read_json(file)
    if not isinstance(record, dict) or not isinstance(record.get("shapes"), list):
        raise IssueError(make_issue("label-syntax", file, "must be an object with a list of shapes", "save it again"))
    named = str(record.get("imagePath") or "").replace("\\", "/").rpartition("/")[2]
    below = file.parent.relative_to(folder)
    names = [(below / name).as_posix() for name in (named, *_beside(file)) if name]
    size = [record.get("imageWidth"), record.get("imageHeight")]
    values = values_in(size, 2)
    entry = Entry(
        names or [file.stem], str(file), None if values is None else (whole_side(values[0]), whole_side(values[1]))
    )
    for index, shape in enumerate(record["shapes"]):
        _take_shape(shape, f"{file}: shape {index}", entry)
    return entry


def _beside(file: Path) -> list[str]:
    """The image that is called as the JSON file is, where the one that it names was renamed."""
    try:
        return [path.name for path in file.parent.glob(f"{_escaped(file.stem)}.*") if is_image(path)]
    except OSError:
        return []


def _escaped(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _take_shape(shape: Any, where: str, entry: Entry) -> None:
    label = shape.get("label") if isinstance(shape, dict) else None
    points = shape.get("points") if isinstance(shape, dict) else None
    pairs = [values_in(point, 2) for point in points] if isinstance(points, list) else []
    corners: list[tuple[float, float]] = [(pair[0], pair[1]) for pair in pairs if pair is not None]
    if not isinstance(label, str) or not label or not corners or len(corners) != len(pairs):
        entry.issues.append(syntax_issue(where, f"must have a label and points, got {shown(shape)}"))
        return
    flags = shape.get("flags") if isinstance(shape.get("flags"), dict) else {}
    marks = [flags.get(mark) is True for mark in ("difficult", "crowd")]
    outline, kind = _outline(corners, str(shape.get("shape_type") or "polygon"))
    entry.shapes.append(Shape(label, where, outline, kind, *marks))


def _outline(corners: list[tuple[float, float]], kind: str) -> tuple[Corners, str]:
    """The corners, and what the shape is if it is not an upright box."""
    if kind == "rectangle" and len(corners) == 2:
        (x1, y1), (x2, y2) = corners  # drawn from any corner
        return [(min(x1, x2), min(y1, y2)), (max(x1, x2), max(y1, y2))], ""
    if kind == "rectangle" and len({x for x, _ in corners}) == len({y for _, y in corners}) == 2:
        xs, ys = zip(*corners, strict=True)  # newer versions write all four corners
        return [(min(xs), min(ys)), (max(xs), max(ys))], ""
    if kind == "circle" and len(corners) == 2:
        (x, y), (x2, y2) = corners
        radius = hypot(x2 - x, y2 - y)
        return [(x - radius, y - radius), (x + radius, y + radius)], "a circle"
    return corners, f"a {kind}"


# --- Writing. ---


def write(
    folder: Path,
    samples: Iterable[Sample],
    classes: Sequence[str],
    split: Split,
    *,
    copy: bool = True,
    names: OutputNames | None = None,
) -> None:
    """Write each image with a JSON file beside it into ``<split>``.

    Difficult boxes and crowds have the flags ``difficult`` and ``crowd``.

    Args:
        folder: where to; other splits may be there already.
        samples: all with boxes.
        classes: the names of the labels.
        split: what the samples are for.
        copy: must be true: the images lie beside their files.
        names: not needed: each split has its own folder.

    Raises:
        DataError: a sample without boxes; an image or a file that cannot be read or written.
    """
    position = folder / split
    with writing(position):
        position.mkdir(parents=True, exist_ok=True)
        for sample in copied(samples, position, flat=True):
            record = _record(sample, classes)
            write_atomically(
                position / f"{Path(sample.name).stem}.json", json.dumps(record, ensure_ascii=False, indent=1) + "\n"
            )


def _record(sample: Sample, classes: Sequence[str]) -> dict[str, Any]:
    boxes = boxes_to_write(sample, TITLE)
    width, height = size_to_write(sample)
    shapes = []
    for i, (left, top, right, bottom) in enumerate(boxes.boxes_xyxy.tolist()):
        marks = {name: True for name, flags in (("difficult", boxes.difficult), ("crowd", boxes.crowd)) if flags[i]}
        shape = {"label": classes[boxes.labels[i]], "points": [[left, top], [right, bottom]], "group_id": None}
        shapes.append(shape | {"shape_type": "rectangle", "flags": marks})
    record: dict[str, Any] = {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": sample.name,
        "imageData": None,
    }
    return record | {"imageHeight": height, "imageWidth": width}
