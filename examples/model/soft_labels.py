"""What EfficientNet-Lite0 says about the crop of each labelled box: the soft labels that the class rows are fitted to.

    python soft_labels.py efficientnet-lite0.safetensors IMAGES BOXES.jsonl OUT.npz

Writes ``key`` (``FILE#BOX``) and ``p``, probabilities of ImageNet's classes in the order of their ids, as float16.
Boxes of people are left out, as ImageNet has none; so are boxes of under 36 pixels. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from yolo9000.architectures.onnx import build_onnx
from yolo9000.architectures.weights import fold_batch_norm
from yolo9000.checkpoints.safetensors import read_checkpoint

SIZE = 224
MARGIN = 1.1  # side of the crop against the longer side of the box
MIN = 40  # side of the smallest crop in pixels
PERSON = "n00007846"
EVERY = 5_000  # crops between savings


class Classifier:
    """EfficientNet-Lite0 in OpenVINO on one thread."""

    def __init__(self, path: Path) -> None:
        import openvino as ov

        weights = read_checkpoint(path).weights
        assert weights is not None
        model = fold_batch_norm(weights)
        core = ov.Core()
        network = core.read_model(build_onnx(model, (("logits", -1),)).SerializeToString())
        network.reshape([1, 3, SIZE, SIZE])
        self.compiled = core.compile_model(
            network, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        )

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """Probabilities of the classes."""
        x = np.ascontiguousarray(crop[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / 255
        logits = self.compiled([x])[0].reshape(-1)
        exponentials = np.exp(logits - logits.max())
        return exponentials / exponentials.sum()


def crop(image: np.ndarray, box: list[float]) -> np.ndarray | None:
    """The square around a box at the classifier's size; None where it is too small."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.array(box) * [width, height, width, height]
    side = MARGIN * max(x2 - x1, y2 - y1)
    if side < MIN:
        return None
    side = min(side, max(height, width))
    scale = SIZE / side
    center = np.array([x1 + x2, y1 + y2]) / 2
    if (shrink := int(1 / scale)) > 1:
        image = cv2.resize(image, (width // shrink, height // shrink), interpolation=cv2.INTER_AREA)
        scale, center = scale * shrink, center / shrink
    offset = SIZE / 2 - center * scale
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]], np.float32)
    return cv2.warpAffine(image, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT_101)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("classifier", "images", "boxes", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    classifier = Classifier(options.classifier)
    soft: dict[str, np.ndarray] = {}
    if options.out.exists():
        before = np.load(options.out)
        soft = dict(zip(before["key"].tolist(), before["p"], strict=True))
    saved = len(soft)
    for line in options.boxes.read_text().splitlines():
        entry = json.loads(line)
        boxes = {f"{entry['file']}#{i}": box for i, box in enumerate(entry["boxes"]) if box[4] != PERSON}
        if not boxes.keys() - soft.keys():
            continue
        image = cv2.imread(str(options.images / entry["file"]))
        for key, box in boxes.items():
            if key not in soft and (cut := crop(image, box[:4])) is not None:
                soft[key] = classifier(cut).astype(np.float16)
        if len(soft) >= saved + EVERY:
            saved = _save(options.out, soft)
    print(f"{options.out}: {_save(options.out, soft):,} boxes")


def _save(path: Path, soft: dict[str, np.ndarray]) -> int:
    new = path.with_suffix(".new.npz")
    np.savez(new, key=np.array(list(soft)), p=np.array(list(soft.values())))
    new.rename(path)
    return len(soft)


if __name__ == "__main__":
    main()
