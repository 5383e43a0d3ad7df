"""The values that are passed between parts of the package. NumPy only, frozen, checked on construction."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from yolo9000.choices import ResizeMode
from yolo9000.errors import no_attribute

if TYPE_CHECKING:
    import supervision

__all__ = [
    "Annotation",
    "BoxAnnotations",
    "Detections",
    "ImageFile",
    "Issue",
    "PathStep",
    "ResizeMode",
    "Sample",
    "SourceImage",
    "TreeAnswer",
]

NO_SOFT_LABEL = -1


@dataclass(frozen=True)
class SourceImage:
    """One decoded image, or one frame of a video.

    Attributes:
        name: its source as the user wrote it (a path, a URL, ``stdin``); for a frame the name of the video.
        pixels: RGB, 8 bits, upright (the EXIF orientation is applied).
        frame: 0-based index of the frame in its video or stream; None for a single image.
        frames_per_second: of the video; None for a single image, a live stream, and where the video does not say.
        timestamp: seconds from the beginning of the video to this frame; None for a single image.
    """

    name: str
    pixels: UInt8[np.ndarray, "h w 3"]
    frame: int | None = None
    frames_per_second: float | None = None
    timestamp: float | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.pixels.shape[:2]
        return width, height


class PathStep(NamedTuple):
    """One node on a path down a label tree.

    Attributes:
        node: index of the node in its tree.
        name: display name of the node.
        conditional: P(node | its parent, object), the softmax in its sibling group.
        probability: P(node | object), the product of the conditionals from the root to here.
    """

    node: int
    name: str
    conditional: float
    probability: float


class TreeAnswer(NamedTuple):
    """Why a detection on a label tree has its label.

    Attributes:
        path: from a root to the answer; never empty.
        stopped: ``leaf`` if the answer has no children, ``hier_thresh`` if its most probable child was too improbable.
        next_best: the most probable child of the answer, where decoding stopped; None at a leaf.
        runner_up: the most probable sibling of the answer; None if it has no siblings.
    """

    path: tuple[PathStep, ...]
    stopped: Literal["leaf", "hier_thresh"]
    next_best: PathStep | None
    runner_up: PathStep | None


_OTHER_NAMES = {
    "boxes": "boxes_xyxy, scores and labels",
    "xyxy": "boxes_xyxy",
    "confidence": "scores",
    "conf": "scores",
    "class_id": "labels",
    "cls": "labels",
    "class_name": "names",
    "tojson": "to_json()",
    "to_df": "to_dataframe()",
    "to_pandas": "to_dataframe()",
    "pandas": "to_dataframe()",
    "with_nms": "the setting nms_iou",
}


@dataclass(frozen=True, repr=False)
class Detections:
    """The detections in one image, highest score first.

    ``detections[mask]``, ``detections[2:5]`` and ``detections[0]`` are detections again; iterating gives one by one.

    Attributes:
        boxes_xyxy: pixels of the image, (left, top, right, bottom), inside it.
        scores: in (0, 1]: objectness x class probability; compared with the confidence threshold.
        labels: class index, or node index of the label tree.
        names: display name of each label.
        size_wh: width and height of the image in pixels.
        answers: on a tree one for each detection; empty for flat classes.
    """

    boxes_xyxy: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    names: tuple[str, ...]
    size_wh: tuple[int, int]
    answers: tuple[TreeAnswer, ...] = field(default=())

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        if not len(self.scores) == len(self.labels) == len(self.names) == count:
            raise ValueError(
                f"Detections: {count} boxes need as many scores, labels and names, "
                f"got {len(self.scores)}, {len(self.labels)} and {len(self.names)}"
            )
        if self.answers and len(self.answers) != count:
            raise ValueError(f"Detections: {count} boxes need as many answers, got {len(self.answers)}")

    if not TYPE_CHECKING:  # a type checker would accept any name

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(no_attribute("Detections", name, _OTHER_NAMES))

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        width, height = self.size_wh
        counts = ", ".join(f"{count} {name}" for name, count in Counter(self.names).most_common(5))
        more = ", ..." if len(set(self.names)) > 5 else ""
        return f"Detections({len(self)} in {width}x{height}{': ' if counts else ''}{counts}{more})"

    def __getitem__(self, keep: int | slice | Bool[np.ndarray, " n"] | Int64[np.ndarray, " kept"]) -> Detections:
        return self.select(np.atleast_1d(np.arange(len(self))[keep]))

    def __iter__(self) -> Iterator[Detections]:
        return (self[i] for i in range(len(self)))

    def select(self, keep: Iterable[int] | Int64[np.ndarray, " kept"]) -> Detections:
        """The detections at the given indices, in the given order."""
        indices = np.asarray(list(keep), dtype=np.int64)
        return Detections(
            boxes_xyxy=self.boxes_xyxy[indices],
            scores=self.scores[indices],
            labels=self.labels[indices],
            names=tuple(self.names[i] for i in indices),
            size_wh=self.size_wh,
            answers=tuple(self.answers[i] for i in indices) if self.answers else (),
        )

    def resized(self, size_wh: tuple[int, int]) -> Detections:
        """The detections in a resized copy of the image, whose width and height in pixels are given."""
        if size_wh == self.size_wh:
            return self
        scale = np.tile(np.array(size_wh) / np.array(self.size_wh), 2)
        return replace(self, boxes_xyxy=(self.boxes_xyxy * scale).astype(np.float32), size_wh=size_wh)

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``{"width", "height", "detections": [{"name", "label", "score", "box_xyxy"}]}``.

        A tree detection also has ``path``, ``stopped``, ``next_best`` and ``runner_up``.
        """
        width, height = self.size_wh
        return {"width": width, "height": height, "detections": [self._one_json(i) for i in range(len(self))]}

    def _one_json(self, i: int) -> dict[str, Any]:
        record: dict[str, Any] = {
            "name": self.names[i],
            "label": int(self.labels[i]),
            "score": float(self.scores[i]),
            "box_xyxy": [float(v) for v in self.boxes_xyxy[i]],
        }
        if self.answers:
            answer = self.answers[i]
            record["path"] = [step._asdict() for step in answer.path]
            record["stopped"] = answer.stopped
            record["next_best"] = answer.next_best._asdict() if answer.next_best else None
            record["runner_up"] = answer.runner_up._asdict() if answer.runner_up else None
        return record

    def to_coco(self, image_id: int | str, category_ids: dict[int, int] | None = None) -> list[dict[str, Any]]:
        """COCO results: ``[{"image_id", "category_id", "bbox": [left, top, width, height], "score"}]``, not rounded.

        Args:
            image_id: the image's id in the ground-truth file.
            category_ids: from label to COCO category id; None keeps the label.
        """
        left_top, right_bottom = self.boxes_xyxy[:, :2], self.boxes_xyxy[:, 2:]
        boxes = np.concatenate([left_top, right_bottom - left_top], axis=1)
        return [
            {
                "image_id": image_id,
                "category_id": category_ids[int(label)] if category_ids else int(label),
                "bbox": [float(v) for v in box],
                "score": float(score),
            }
            for box, label, score in zip(boxes, self.labels, self.scores, strict=True)
        ]

    def to_dataframe(self) -> Any:
        """A data frame of pandas, or of polars where pandas is not installed: a row for each detection.

        Its columns are ``name``, ``label``, ``score``, ``left``, ``top``, ``right``, ``bottom``; on a tree also
        ``path``: the names from a root to the answer, joined by `` > ``.

        Raises:
            ImportError: neither is installed.
        """
        columns: dict[str, list[Any]] = {"name": list(self.names), "label": self.labels.tolist()}
        columns |= {"score": self.scores.tolist()}
        sides = self.boxes_xyxy.T.tolist() if len(self) else [[]] * 4
        columns |= dict(zip(("left", "top", "right", "bottom"), sides, strict=True))
        if self.answers:
            columns["path"] = [" > ".join(step.name for step in answer.path) for answer in self.answers]
        for library in ("pandas", "polars"):
            if find_spec(library) is not None:
                return import_module(library).DataFrame(columns)
        raise ImportError("to_dataframe needs pandas or polars: pip install pandas")

    def to_supervision(self) -> supervision.Detections:
        """The same as a ``supervision.Detections``; the package ``supervision`` must be installed.

        On a tree ``data`` also has ``path``, as in `to_dataframe`.

        Raises:
            ImportError: it is not.
        """
        import supervision

        data = {"class_name": np.asarray(self.names, dtype=str)}
        if self.answers:
            paths = [" > ".join(step.name for step in answer.path) for answer in self.answers]
            data["path"] = np.asarray(paths, dtype=str)
        return supervision.Detections(xyxy=self.boxes_xyxy, confidence=self.scores, class_id=self.labels, data=data)


@dataclass(frozen=True)
class ImageFile:
    """Where the pixels of a sample are: a file, or a part of a tar file, which is read without unpacking.

    Attributes:
        path: the image's file, or the tar file that it is in.
        offset: first byte of the image in the tar file; None for a file of its own.
        length: bytes of the image in the tar file; None for a file of its own.
    """

    path: Path
    offset: int | None = None
    length: int | None = None


@dataclass(frozen=True)
class BoxAnnotations:
    """The boxes that an annotator drew in one image.

    Attributes:
        boxes_xyxy: pixels of the image, (left, top, right, bottom), the far edges exclusive: width = right - left.
        labels: class index of each box.
        difficult: VOC's flag: neither detecting nor missing such a box counts.
        crowd: COCO's ``iscrowd``: the box holds many objects; detections in it do not count.
        areas: square pixels that decide COCO's small, medium, large: of the object's outline where it is annotated,
            else of the box.
        soft: index of each box's soft label in its data set, see `yolo9000.data.soft_labels`; -1: none. Left out: none.
    """

    boxes_xyxy: Float32[np.ndarray, "n 4"]
    labels: Int64[np.ndarray, " n"]
    difficult: Bool[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]
    areas: Float32[np.ndarray, " n"]
    soft: Int64[np.ndarray, " n"] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        if not len(self.soft):
            object.__setattr__(self, "soft", np.full(count, NO_SOFT_LABEL))
        others = {name: len(values) for name, values in vars(self).items()}
        if any(length != count for length in others.values()):
            raise ValueError(f"BoxAnnotations: {count} boxes need as many of everything, got {others}")

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, keep: Bool[np.ndarray, " n"]) -> BoxAnnotations:
        """The boxes of a mask."""
        return BoxAnnotations(**{name: values[keep] for name, values in vars(self).items()})

    @classmethod
    def plain(cls, boxes_xyxy: Float32[np.ndarray, "n 4"], labels: Int64[np.ndarray, " n"]) -> BoxAnnotations:
        """Boxes that are neither difficult nor crowds, with their own areas."""
        nothing = np.zeros(len(labels), dtype=bool)
        sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
        return cls(boxes_xyxy, labels, nothing, nothing, sides[:, 0] * sides[:, 1])


@dataclass(frozen=True)
class Sample:
    """One image of a data set and what is known of it.

    Attributes:
        name: of the image within its data set, unique there; COCO's image id where it has one is in ``image_id``.
        image: where its pixels are.
        where: the annotation's file, with line or object where that helps; for messages.
        size_wh: width and height of the upright image, from its header; None where nothing needed them.
        boxes: what was boxed; None where nobody drew boxes, which is not the same as an image without objects.
        image_labels: classes that are known to be in the image, without boxes; rising, none twice.
        image_id: COCO's id of the image; None elsewhere.
        source: place of the sample's source in its data-set file; says which classes are labelled exhaustively.
        exhaustive: the classes that are labelled exhaustively in this image; None: those of its source.
        soft: index of the soft label of the image in its data set; -1: none.
    """

    name: str
    image: ImageFile
    where: str
    size_wh: tuple[int, int] | None = None
    boxes: BoxAnnotations | None = None
    image_labels: tuple[int, ...] = ()
    image_id: int | None = None
    source: int = 0
    exhaustive: tuple[int, ...] | None = None
    soft: int = NO_SOFT_LABEL


@dataclass(frozen=True)
class Issue:
    """Something wrong in a data set.

    Attributes:
        code: stable name of the kind of issue, such as ``box-outside``.
        where: file, and line or object number.
        message: what must hold and what was got, one line.
        suggestion: what to do about it, one line.
        fixable: whether ``on_error="fix"`` can fix it (clip the box, drop the line) without losing the image.
    """

    code: str
    where: str
    message: str
    suggestion: str
    fixable: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.code}: {self.message}"


@dataclass(frozen=True)
class Annotation:
    """The annotation of one image, as read.

    Attributes:
        sample: the image as far as it can be used, invalid objects fixed or left out; None if nothing can be used.
        issues: everything that is wrong with it; empty if nothing is.
    """

    sample: Sample | None
    issues: tuple[Issue, ...] = ()
