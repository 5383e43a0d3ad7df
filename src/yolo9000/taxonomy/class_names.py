"""The class names of the two data sets that Darknet's published weights were trained on, and an index of names.

A ``.cfg`` does not name its classes; without names from the user, 20 classes are taken for VOC's and 80 for COCO's.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["COCO", "COCO_CATEGORY_IDS", "VOC", "default_names", "index_names"]

VOC: tuple[str, ...] = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
COCO: tuple[str, ...] = (
    "person",
    "bicycle",
    "car",
    "motorbike",
    "aeroplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "sofa",
    "pottedplant",
    "bed",
    "diningtable",
    "toilet",
    "tvmonitor",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
)

# COCO numbers its 80 categories 1 to 90; these ten are unused.
_UNUSED_COCO_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_CATEGORY_IDS: dict[int, int] = dict(enumerate(i for i in range(1, 91) if i not in _UNUSED_COCO_IDS))


def default_names(classes: int) -> tuple[str, ...]:
    """VOC's names for 20 classes, COCO's for 80, else ``class 0``, ``class 1``, ..."""
    known = {len(VOC): VOC, len(COCO): COCO}
    return known.get(classes) or tuple(f"class {i}" for i in range(classes))


def index_names(names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The indices of each name; several where a name is repeated.

    >>> index_names(["bat", "ball", "bat"])
    {'bat': (0, 2), 'ball': (1,)}
    """
    indices: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        indices.setdefault(name, []).append(index)
    return {name: tuple(several) for name, several in indices.items()}
