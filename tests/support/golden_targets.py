"""Recorded training targets, in the form that our losses take."""

from __future__ import annotations

import numpy as np
import torch

from yolo9000.losses.assign import Targets

WARM_UP_IMAGES = 12_800
IMAGE_LEVEL = 100_000  # Darknet marks an image-level label by coordinates above this


def targets_of(target: np.ndarray, mapping: np.ndarray | None, classes: int) -> tuple[Targets, torch.Tensor]:
    """Boxes up to the first whose x is 0; the class of each image that has an image-level label."""
    images, boxes, labels = [], [], []
    image_labels = np.zeros((len(target), classes), bool)
    for image, rows in enumerate(target):
        for row in rows:
            if row[0] == 0:
                break
            if row[0] > IMAGE_LEVEL:
                image_labels[image, int(row[4])] = True
                break
            images.append(image)
            boxes.append(row[:4])
            labels.append(int(row[4]) if mapping is None else int(mapping[int(row[4])]))
    # What stood before an image-level label of the same image plays no part
    keep = [not image_labels[image].any() for image in images]
    tensors = (
        torch.tensor(np.array(images, np.int64)[keep]),
        torch.tensor(np.array(boxes, np.float32).reshape(-1, 4)[keep]),
        torch.tensor(np.array(labels, np.int64)[keep]),
    )
    return Targets(*tensors), torch.tensor(image_labels)
