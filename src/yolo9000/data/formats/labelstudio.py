"""Label Studio: its JSON export, a list of tasks, and the shorter JSON-MIN; coordinates in percent of the image.

Source: labelstud.io, Label Studio Task Format and RectangleLabels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from math import isfinite
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import Any, ClassVar, Final, Literal
from urllib.parse import parse_qs, quote, unquote

from yolo9000.data.entries import Entry, Shape, annotations_of, class_names_of, read_json, syntax_issue, values_in
from yolo9000.data.files import is_file, json_number, url_parts
from yolo9000.data.format import Recognition, SourceSettings, Split
from yolo9000.data.image_folders import NAMES_TRIED, folder_of_images
from yolo9000.data.issues import IssueError, make_issue, shown
from yolo9000.data.listing import Listing
from yolo9000.data.shapes import Corners, corners_of, rotated
from yolo9000.data.split_names import UNDIVIDED, split_of
from yolo9000.data.writing import boxes_to_write, copied, size_to_write, writing
from yolo9000.io.files import write_atomically
from yolo9000.io.naming import OutputNames
from yolo9000.types import Annotation, Issue, Sample

__all__ = ["NAME", "TITLE", "Source", "class_names", "read", "sniff", "write", "write_predictions"]

NAME: Final = "labelstudio"
TITLE: Final = "Label Studio JSON"

_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the names of uploaded files
_ANNOTATIONS = ("annotations", "completions")
_SHAPES = {"rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels", "keypointlabels", "rectangle"}


class Source(SourceSettings):
    """A JSON file of Label Studio.

    Attributes:
        images: folder of the images, relative to the data-set file.
    """

    FILES: ClassVar[tuple[str, ...]] = ("path", "images")
    format: Literal["labelstudio"] = NAME
    images: str


def sniff(listing: Listing) -> Recognition | None:
    """JSON files that are lists of tasks with ``data`` and ``annotations``, or of JSON-MIN's objects."""
    matches = [name for name in listing.documents(".json")[:20] if _is_export(listing, name)]
    if not matches:
        return None
    sources: dict[str, list[dict[str, Any]]] = {}
    counts: dict[str, int | None] = {}
    for file in matches:
        path = PurePosixPath(file)
        split = UNDIVIDED if listing.file else split_of(path.stem) or split_of(path.parent.name) or UNDIVIDED
        tasks = read_json(listing.root / file)
        folder = _best_folder(listing, file, tasks)
        sources.setdefault(split, []).append({"format": NAME, "path": file, "images": folder})
        counts[split or "images"] = (counts.get(split or "images") or 0) + len(tasks)
    used = frozenset([*matches, *(source["images"] for some in sources.values() for source in some), "images"])
    return Recognition(0.95, TITLE, f"{', '.join(matches)}: a list of tasks", sources, counts, used=used)


def _is_export(listing: Listing, file: str) -> bool:
    peek = listing.json(file)
    if not peek.is_list:
        return False
    whole = "data" in peek.keys and bool(peek.keys & {*_ANNOTATIONS, "predictions"})
    return whole or {"annotator", "annotation_id"} & peek.keys != set() or _is_short(peek.value)


def _is_short(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and bool(_short_results(first)) and _image_of(first) is not None


def _best_folder(listing: Listing, file: str, tasks: Any) -> str:
    names = [names for task in tasks[:NAMES_TRIED] if (names := _names_of(task))]
    matches = [folder_of_images(listing, file, [choice[min(i, len(choice) - 1)] for choice in names]) for i in range(3)]
    return max(matches, key=lambda pair: pair[1])[0]


def class_names(root: Path, source: Source) -> Sequence[str]:
    """The names of all labels in the file, sorted."""
    return class_names_of(_entries(root / source.path))


def read(root: Path, source: Source, classes: Sequence[str]) -> Iterator[Annotation]:
    """Every task, in the order of the file; one that nobody annotated is an issue."""
    entries = _entries(root / source.path)
    yield from annotations_of(entries, root / source.images, classes, boxes_from_shapes=source.boxes_from_shapes)


def _entries(file: Path) -> Iterator[Entry]:
    tasks = read_json(file)
    if not isinstance(tasks, list):
        raise IssueError(make_issue("file-syntax", file, "must be a list of tasks", "export it as JSON again"))
    for index, task in enumerate(tasks):
        where = f"{file}: task {task.get('id', index) if isinstance(task, dict) else index}"
        names = _names_of(task)
        if not names:
            issue = syntax_issue(where, f"must name an image in data, got {shown(task)}")
            yield Entry((), where, issues=[issue])
        else:
            yield _entry(task, names, where)


def _entry(task: dict[str, Any], names: Sequence[str], where: str) -> Entry:
    entry = Entry(names, where, fractions=True)
    results = _results_of(task, entry)
    for index, result in enumerate(results):
        _take_result(result, f"{where}: result {index}", entry)
    entry.boxed = not entry.labels and not any(issue.code == "label-missing" for issue in entry.issues)
    return entry


def _results_of(task: dict[str, Any], entry: Entry) -> list[Any]:
    key = next((key for key in _ANNOTATIONS if isinstance(task.get(key), list)), None)
    if key is None and isinstance(task.get("data"), dict):
        entry.issues.append(_unannotated(task, entry.where))
        return []
    if key is None:
        return _short_results(task)
    done = [one for one in task[key] if isinstance(one, dict) and not one.get("was_cancelled")]
    if not done:
        entry.issues.append(_unannotated(task, entry.where))
    if len(done) > 1:
        message = f"a task must have one annotation, has {len(done)}; the first is taken"
        entry.issues.append(make_issue("label-duplicate", entry.where, message, "keep one of them", fixable=True))
    results = done[0].get("result") if done else []
    return results if isinstance(results, list) else []


def _unannotated(task: dict[str, Any], where: str) -> Issue:
    if task.get("predictions"):
        suggestion = "submit them in Label Studio, and export the project"
        return make_issue("label-missing", where, "a task must be annotated, has predictions alone", suggestion)
    return make_issue("label-missing", where, "a task must be annotated, is not", "annotate it, or leave it out")


def _take_result(result: Any, where: str, entry: Entry) -> None:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        entry.issues.append(syntax_issue(where, f"must be a result with a value, got {shown(result)}"))
        return
    if "choices" in value:
        entry.labels += [(name, where) for name in value["choices"] if isinstance(name, str)]
        return
    names = next((value[key] for key in value if key.endswith("labels") and isinstance(value[key], list)), None)
    if names is None and "x" not in value and "points" not in value:
        return  # text and ratings about the image
    if "rle" in value:
        issue = make_issue(
            "label-shape", where, "must be a box, is a brushed mask", "export the project as COCO", fixable=True
        )
        entry.issues.append(issue)
        return
    corners, kind = _corners(value, result)
    if corners is None or not names or not isinstance(names[0], str):
        entry.issues.append(syntax_issue(where, f"must have a label and the sides of its box, got {shown(value)}"))
        return
    meta = result.get("meta") if isinstance(result.get("meta"), dict) else {}
    flags = [bool(meta.get(mark)) for mark in ("difficult", "crowd")]
    entry.shapes += [Shape(name, where, corners, kind, *flags) for name in names]


def _corners(value: dict[str, Any], result: dict[str, Any]) -> tuple[Corners | None, str]:
    """The corners as fractions of the image."""
    if isinstance(value.get("points"), list):
        pairs = [pair for point in value["points"] if (pair := values_in(point, 2)) is not None]
        points = [(x / 100, y / 100) for x, y in pairs]
        return (points if points and len(points) == len(value["points"]) else None), "a polygon"
    sides = values_in([value.get(key) for key in ("x", "y", "width", "height")], 4)
    degrees = json_number(value.get("rotation", 0))
    if sides is None or degrees is None or not isfinite(degrees):
        return None, ""
    x, y, width, height = sides
    if degrees % 360 == 0:
        return [(x / 100, y / 100), ((x + width) / 100, (y + height) / 100)], ""
    size = values_in([result.get("original_width"), result.get("original_height")], 2)
    if size is None or 0 in size:
        return None, ""
    w, h = size
    turned = rotated(corners_of(x * w, y * h, width * w, height * h), (x * w, y * h), degrees)
    return [(a / 100 / w, b / 100 / h) for a, b in turned], "a rotated box"


def _short_results(task: dict[str, Any]) -> list[Any]:
    """JSON-MIN has the values of each control under its name."""
    matches: list[Any] = []
    for value in task.values():
        if isinstance(value, list):
            matches += [
                {"value": one, **one} for one in value if isinstance(one, dict) and set(one) & (_SHAPES | {"points"})
            ]
    return matches


def _image_of(task: dict[str, Any]) -> str | None:
    """The address of the image: under ``image``, or the first that looks like one."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = [value for value in (data.get("image"), *data.values()) if isinstance(value, str)]
    return next((text for text in texts if re.search(r"\.\w{3,4}($|\?|&)", text)), None)


def _names_of(task: Any) -> list[str]:
    """What the image may be called: its path below the storage, its own name, that name before the upload."""
    address = _image_of(task) if isinstance(task, dict) else None
    parts = None if address is None else url_parts(address.replace("\\", "/"))
    if parts is None:
        return []
    local = parse_qs(parts.query).get("d")
    path = PurePosixPath(local[0] if local else unquote(parts.path))
    inside = "/".join(part for part in path.parts if part not in ("/", ".."))
    whole = [str(path)] if path.is_absolute() and is_file(Path(path)) else []
    return list(dict.fromkeys([*whole, inside, path.name, _UPLOAD.sub("", path.name, count=1)]))


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
    """Write ``<split>.json``, as Label Studio imports it, and the images into ``images/<split>``.

    The images are named as local files below the folder, which must be Label Studio's document root. Marks of difficult
    boxes and crowds are kept in ``meta``; image-level labels are choices.

    Args:
        folder: where to; other splits may be there already.
        samples: with boxes, image-level labels or both.
        classes: the names of the labels.
        split: what the samples are for.
        copy: copy the images; otherwise they are named by their whole paths.
        names: not needed: each split has its own folder.

    Raises:
        DataError: a sample of which nothing is known; an image or a file that cannot be read or written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        prefix = f"images/{split}/" if copy else ""
        passing = copied(samples, folder / "images" / split if copy else None)
        tasks = [
            _task(index, sample, prefix) | {"annotations": [{"result": _results(sample, classes)}]}
            for index, sample in enumerate(passing, 1)
        ]
        write_atomically(folder / f"{split}.json", json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")


def write_predictions(
    folder: Path, scored: Iterable[tuple[Sample, Sequence[float]]], classes: Sequence[str], *, copy: bool
) -> None:
    """Write ``train.json`` with pre-annotations: boxes with their scores, which Label Studio shows to be corrected.

    They are no annotations until somebody submits them; what Label Studio exports then is read.

    Args:
        folder: where to; see `write`.
        scored: samples with boxes, and the score of each box in their order.
        classes: the names of the labels.
        copy: see `write`.

    Raises:
        DataError: see `write`.
    """
    first, second = tee(scored)
    prefix = "images/train/" if copy else ""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        passing = copied((sample for sample, _ in first), folder / "images" / "train" if copy else None)
        tasks = [
            _task(index, sample, prefix) | {"predictions": [_prediction(sample, scores, classes)]}
            for index, (sample, (_, scores)) in enumerate(zip(passing, second, strict=True), 1)
        ]
        write_atomically(folder / "train.json", json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")


def _prediction(sample: Sample, scores: Sequence[float], classes: Sequence[str]) -> dict[str, Any]:
    results = [one | {"score": score} for one, score in zip(_results(sample, classes), scores, strict=True)]
    return {"model_version": "yolo9000", "result": results} | ({"score": fmean(scores)} if scores else {})


def _task(index: int, sample: Sample, prefix: str) -> dict[str, Any]:
    return {"id": index, "data": {"image": f"/data/local-files/?d={quote(prefix + sample.name)}"}}


def _results(sample: Sample, classes: Sequence[str]) -> list[dict[str, Any]]:
    size_wh = size_to_write(sample)
    results: list[dict[str, Any]] = []
    if sample.image_labels:
        value = {"choices": [classes[label] for label in sample.image_labels]}
        results.append({"type": "choices", "from_name": "choice", "to_name": "image", "value": value})
    if sample.boxes is not None or not sample.image_labels:
        results += _box_results(sample, size_wh, classes)
    return [{"id": str(number), **result} for number, result in enumerate(results)]


def _box_results(sample: Sample, size_wh: tuple[int, int], classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    boxes = boxes_to_write(sample, TITLE)
    w, h = size_wh
    for i, (left, top, right, bottom) in enumerate(boxes.boxes_xyxy.tolist()):
        value: dict[str, Any] = {"x": 100 * left / w, "y": 100 * top / h}
        value |= {"width": 100 * (right - left) / w, "height": 100 * (bottom - top) / h, "rotation": 0}
        value["rectanglelabels"] = [classes[boxes.labels[i]]]
        marks = {name: True for name, flags in (("difficult", boxes.difficult), ("crowd", boxes.crowd)) if flags[i]}
        result: dict[str, Any] = {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value}
        result |= {"original_width": w, "original_height": h, "image_rotation": 0}
        yield result | ({"meta": marks} if marks else {})
