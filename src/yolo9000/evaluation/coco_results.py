"""Read predictions from a COCO results file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolo9000.data.dataset import DataSet, OnError
from yolo9000.data.images import image_size
from yolo9000.errors import DataError
from yolo9000.io.digits import whole_number
from yolo9000.io.documents import parse_json
from yolo9000.types import Detections, Sample

__all__ = ["read_coco_results", "read_results"]


def read_coco_results(
    file: Path, data_set: DataSet, on_error: OnError = "error"
) -> Iterator[tuple[Sample, Detections]]:
    """Pair the images of a data set with the detections of a COCO results file.

    Images are matched by image id, else by the stem of their file or the number at its end; categories by
    `DataSet.category_ids`.

    Yields:
        The sample, and its predictions.

    Raises:
        DataError: the file is not COCO results, or has images or categories that the data set does not have.
    """
    records = read_results(file)
    ids = {category: label for label, category in data_set.category_ids().items()}
    by_image: dict[int | str, list[dict[str, Any]]] = {}
    for index, record in enumerate(records):
        if record["category_id"] not in ids:
            category = record["category_id"]
            raise DataError(f"{file}: result {index}: category_id {category} must be a category of {data_set.name}")
        by_image.setdefault(record["image_id"], []).append(record)
    for sample in data_set.samples(on_error):
        if sample.boxes is None:
            continue
        records_of = [record for key in _keys_of(sample) for record in by_image.pop(key, ())]
        size = sample.size_wh or image_size(sample.image, sample.name)
        yield sample, _detections_of(records_of, ids, data_set.classes, size)
    if by_image:
        raise DataError(f"{file}: image_id {next(iter(by_image))!r} must be an image of {data_set.name}")


def read_results(file: Path) -> list[dict[str, Any]]:
    """The results of a file, each with ``image_id``, ``category_id``, ``bbox`` and ``score``.

    Raises:
        DataError: the file is not COCO results.
    """
    try:
        contents = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    records = parse_json(contents, file)
    if not isinstance(records, list):
        raise DataError(f"{file}: must be a list of results")
    for index, record in enumerate(records):
        problem = _problem_of(record)
        if problem:
            raise DataError(f"{file}: result {index}: {problem}")
    return records


def _problem_of(record: object) -> str | None:
    if not isinstance(record, dict):
        return "must be an object"
    if not isinstance(record.get("image_id"), int | str):
        return f"image_id must be an integer or a name, got {record.get('image_id')!r}"
    if type(record.get("category_id")) is not int:
        return f"category_id must be an integer, got {record.get('category_id')!r}"
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
        return f"bbox must be [left, top, width, height], got {str(box)[:80]}"
    if box[2] < 0 or box[3] < 0:
        return f"bbox must have width >= 0 and height >= 0, got {box}"
    if not _is_number(record.get("score")):
        return f"score must be a number, got {record.get('score')!r}"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _keys_of(sample: Sample) -> list[int | str]:
    """What a results file may call the image: its id, name, stem, or the number at the end of the stem."""
    stem = Path(sample.name).stem
    number = whole_number(stem.rpartition("_")[2])
    keys: list[int | str] = [sample.name, stem] if sample.image_id is None else [sample.image_id, sample.name, stem]
    return keys if number is None or sample.image_id is not None else [*keys, number]


def _detections_of(
    records: Sequence[dict[str, Any]], ids: dict[int, int], classes: Sequence[str], size_wh: tuple[int, int]
) -> Detections:
    boxes = np.array([record["bbox"] for record in records], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([ids[record["category_id"]] for record in records], np.int64)
    scores = np.array([record["score"] for record in records], np.float32)
    order = np.argsort(-scores, kind="stable")
    return Detections(
        boxes_xyxy=boxes.astype(np.float32)[order],
        scores=scores[order],
        labels=labels[order],
        names=tuple(classes[label] for label in labels[order]),
        size_wh=size_wh,
    )
