"""Detect from a typed program: python examples/python/typed.py photo.jpg [...]; mypy --strict accepts it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from yolo9000 import Detections, Detector, Prediction, YoloError


def largest(detections: Detections) -> str | None:
    """The name of the largest box; None where there is none."""
    sides: NDArray[np.float32] = detections.boxes_xyxy[:, 2:] - detections.boxes_xyxy[:, :2]
    return detections.names[int(sides.prod(axis=1).argmax())] if len(detections) else None


def count(detector: Detector, paths: list[str]) -> Counter[str]:
    """How often each class is in some images, folders and videos; what cannot be read is passed over."""
    counts: Counter[str] = Counter()
    for prediction in detector.predict(paths, on_error=print, conf_threshold=0.3):
        counts.update(prediction.detections.names)
    return counts


async def detect_all(detector: Detector, paths: list[str]) -> list[Prediction]:
    """Detect without blocking the event loop: a detector may be called from several threads."""

    def detect(path: str) -> Prediction:
        return detector(path)

    return list(await asyncio.gather(*(asyncio.to_thread(detect, path) for path in paths)))


def main() -> int:
    """Print what is in the images that the command line names."""
    logging.basicConfig(level=logging.WARNING)
    try:
        detector = Detector.load()
        print(count(detector, sys.argv[1:]))
        for prediction in asyncio.run(detect_all(detector, sys.argv[1:])):
            print(prediction.image.name, largest(prediction.detections))
    except YoloError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
