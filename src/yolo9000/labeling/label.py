"""Label images with models: the boxes of all teachers, fused, as a data set in any format that can be written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yolo9000.data.formats import FORMATS, WRITABLE, labelstudio
from yolo9000.errors import ConfigError, DataError
from yolo9000.io.files import write_atomically
from yolo9000.io.images import read_image
from yolo9000.io.naming import OutputNames
from yolo9000.labeling.fuse import FusedBox, fuse
from yolo9000.labeling.images import ListedImage
from yolo9000.labeling.parts import Parts, Record, Shard
from yolo9000.labeling.teachers import Teacher
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, ImageFile, Sample

__all__ = ["LabelSettings", "Labeler", "Report", "check_files", "write_data_set"]

Report = Callable[[int, int], None]
"""Called with the number of images done and the number to do."""

FUSED_CONF_THRESHOLD = 0.1


@dataclass(frozen=True)
class LabelSettings:
    """When a box becomes a label.

    Attributes:
        conf_threshold: minimum score.
        class_thresholds: minimum score of a class and, on a tree, of all below it; the most specific one counts.
        hier_thresh: minimum probability of a node to be the label.
        fusion_iou: IoU above which boxes of two teachers can be one object.
        max_pixels: refuse larger images before decoding them.
    """

    conf_threshold: float = 0.25
    class_thresholds: Mapping[str, float] = field(default_factory=dict)
    hier_thresh: float = 0.5
    fusion_iou: float = 0.55
    max_pixels: int = 64_000_000

    def lowest(self, *, fused: bool) -> float:
        """The minimum score of a teacher's box: that of any class; where boxes are fused lower, as means may pass."""
        lowest = min([self.conf_threshold, *self.class_thresholds.values()])
        return min(lowest, FUSED_CONF_THRESHOLD) if fused else lowest

    def thresholds(self, tree: WordTree) -> list[float]:
        """The minimum score of each node.

        Raises:
            TreeError: a name is not that of exactly one node.
            ConfigError: a threshold is not between 0 and 1.
        """
        own = {tree.find(name): threshold for name, threshold in self.class_thresholds.items()}
        for name, threshold in self.class_thresholds.items():
            if not 0 <= threshold <= 1:
                raise ConfigError(f"{name}: must be between 0 and 1, got {threshold}", argument="class_threshold")
        result: list[float] = []
        for node, parent in enumerate(tree.parents.tolist()):
            inherited = result[parent] if parent >= 0 else self.conf_threshold
            result.append(own.get(node, inherited))
        return result


class Labeler:
    """Labels one image after the other.

    Attributes:
        teachers: whose boxes are fused.
        tree: whose nodes the labels are.
    """

    def __init__(self, teachers: Sequence[Teacher], tree: WordTree, settings: LabelSettings) -> None:
        self.tree = tree
        self.teachers = teachers
        self._settings = settings
        self._thresholds = settings.thresholds(tree)

    def run(self, parts: Parts, shard: Shard, report: Report | None = None) -> int:
        """Make the missing parts of a shard; number of images labelled.

        Args:
            parts: of the images.
            shard: which of the parts.
            report: called after each part with the number of images done and the number to do.
        """
        missing = parts.missing(shard)
        total, done = parts.count_images(missing), 0
        for part in missing:
            parts.write(part, map(self.record, parts.images(part)))
            done += len(parts.images(part))
            if report:
                report(done, total)
        return done

    def record(self, image: ListedImage) -> dict[str, Any]:
        """What a part holds about an image: its size and boxes, or why it could not be read."""
        try:
            pixels = read_image(image.encoded(), name=image.name, max_pixels=self._settings.max_pixels)
        except DataError as error:
            return {"image": image.name, "error": str(error)}
        said = [box for position, teacher in enumerate(self.teachers) for box in teacher.boxes(pixels, position)]
        fused = fuse(
            said,
            self.tree,
            models=len(self.teachers),
            iou_threshold=self._settings.fusion_iou,
            hier_thresh=self._settings.hier_thresh,
        )
        width, height = pixels.size_wh
        boxes = [_box_record(box, self.tree) for box in fused if box.score >= self._thresholds[box.label]]
        return {"image": image.name, "width": width, "height": height, "boxes": boxes}


def _box_record(box: FusedBox, tree: WordTree) -> dict[str, Any]:
    corners = [round(side, 3) for side in box.box_xyxy]
    return {"box_xyxy": corners, "id": tree.ids[box.label], "score": round(box.score, 6), "models": box.models}


def write_data_set(
    records: Iterable[tuple[ListedImage, Record]], tree: WordTree, to: str, folder: Path, *, copy: bool
) -> Counter[str]:
    """Write labels as a data set, and their scores to ``scores.jsonl``.

    For Label Studio they are pre-annotations with scores, to be corrected there.

    Args:
        records: each image with its record, such as `Parts`. Gone through several times.
        tree: whose nodes the labels are. The classes are the nodes that occur, in the order of the tree.
        to: the format, one of `yolo9000.data.formats.WRITABLE`.
        folder: where to.
        copy: put the images into the folder too; else they are referred to.

    Returns:
        Number of boxes of each class.

    Raises:
        ConfigError: the format cannot be written, or an image is at a URL or in a Parquet file.
        DataError: an image or the folder cannot be written.
    """
    write = FORMATS[to].write if to in WRITABLE else None
    if write is None:
        raise ConfigError(f"must be one of {', '.join(WRITABLE)}, got {to!r}", argument="to")
    counts = Counter(tree.index_by_id[box["id"]] for _, record in records for box in record.get("boxes", ()))
    nodes = sorted(counts)
    names = _class_names(tree, nodes)
    labels = {tree.ids[node]: label for label, node in enumerate(nodes)}
    folder.mkdir(parents=True, exist_ok=True)
    if to == labelstudio.NAME:
        labelstudio.write_predictions(folder, _scored_samples(records, labels), names, copy=copy)
    else:
        write(folder, _samples(records, labels), names, "train", copy=copy, names=OutputNames())
    lines = (
        json.dumps({"image": image.name, "scores": [box["score"] for box in record["boxes"]]}, ensure_ascii=False)
        for image, record in records
        if "boxes" in record
    )
    write_atomically(folder / "scores.jsonl", "".join(f"{line}\n" for line in lines))
    return Counter({names[label]: counts[node] for label, node in enumerate(nodes)})


def _class_names(tree: WordTree, nodes: Sequence[int]) -> list[str]:
    """Display names, and ids where two nodes share a name."""
    counts = Counter(tree.names[node] for node in nodes)
    return [tree.names[node] if counts[tree.names[node]] == 1 else tree.ids[node] for node in nodes]


def check_files(images: Iterable[ListedImage]) -> None:
    """Check that a data set can refer to images.

    Raises:
        ConfigError: one is at a URL or in a Parquet file.
    """
    for image in images:
        _file_of(image)


def _file_of(image: ListedImage) -> ImageFile:
    if image.file is None:
        message = f"must be jsonl or parquet for images at URLs and in Parquet files, such as {image.path}"
        raise ConfigError(message, argument="to")
    return image.file


def _scored_samples(
    records: Iterable[tuple[ListedImage, Record]], labels: Mapping[str, int]
) -> Iterator[tuple[Sample, list[float]]]:
    scores = ([box["score"] for box in record["boxes"]] for _, record in records if "boxes" in record)
    return zip(_samples(records, labels), scores, strict=True)


def _samples(records: Iterable[tuple[ListedImage, Record]], labels: Mapping[str, int]) -> Iterator[Sample]:
    for image, record in records:
        if "boxes" not in record:
            continue
        corners = np.array([box["box_xyxy"] for box in record["boxes"]], np.float32).reshape(-1, 4)
        inside = np.clip(corners, 0, np.array([record["width"], record["height"]] * 2, np.float32))
        indices = np.array([labels[box["id"]] for box in record["boxes"]], np.int64)
        boxes = BoxAnnotations.plain(inside, indices)
        yield Sample(image.name, _file_of(image), image.path, (record["width"], record["height"]), boxes)
