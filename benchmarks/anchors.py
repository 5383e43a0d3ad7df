"""Table 1 of the paper on VOC 2007's boxes, and how long 850,000 boxes take on one thread.

    python benchmarks/anchors.py ../shared/data/voc-boxes [--rounds 3]

The folder holds ``box_sizes.npz``. The contenders take turns in every round: a noisy machine is noisy for all.
"""

from __future__ import annotations

import os

# Before NumPy starts.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from yolo9000.adapt.anchor_plot import plot_report
from yolo9000.adapt.anchors import average_iou, cluster, recall, report, size_iou

BOXES, JITTER = 850_000, 0.05  # as many as COCO's training set; the spread of the factors that make sizes differ
K = 5
FASTER_RCNN_SCALE = 1.6  # Faster R-CNN enlarges images to a shorter side of 600: VOC's usual 500 x 375 to 800 x 600
Answer = tuple[np.ndarray, int]


def hand_anchors() -> np.ndarray:
    """Faster R-CNN's nine: areas of 128, 256 and 512 pixels squared, at 2:1, 1:1 and 1:2."""
    return np.array([(side / root, side * root) for side in (128, 256, 512) for root in np.sqrt((0.5, 1, 2))])


def table_1(sizes: np.ndarray) -> None:
    euclidean, five, nine = cluster(sizes, 5, distance="euclidean"), cluster(sizes, 5), cluster(sizes, 9)
    rows = [
        ("Cluster SSE", euclidean.anchors_wh, "58.7"),
        ("Cluster IOU", five.anchors_wh, "61.0"),
        ("Anchor boxes (Faster R-CNN), at its scale", hand_anchors() / FASTER_RCNN_SCALE, "60.9"),
        ("Anchor boxes (Faster R-CNN), on VOC's pixels", hand_anchors(), ""),
        ("Cluster IOU", nine.anchors_wh, "67.2"),
    ]
    print(f"| {len(sizes):,} boxes of VOC 2007 trainval, pixels | # | avg IOU, % | Table 1 | recall at .5, % |")
    print("|---|---|---|---|---|")
    for name, anchors, paper in rows:
        iou, fifty = 100 * average_iou(sizes, anchors), 100 * recall(sizes, anchors, 0.5)
        print(f"| {name} | {len(anchors)} | {iou:.1f} | {paper} | {fifty:.1f} |")
    print()


def many_boxes(sizes: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return sizes[rng.integers(len(sizes), size=BOXES)] * np.exp(rng.normal(0, JITTER, (BOXES, 2)))


def ours(sizes: np.ndarray, distance: str) -> Callable[[], Answer]:
    def run() -> Answer:
        clusters = cluster(sizes, K, distance="iou" if distance == "iou" else "euclidean")
        return clusters.anchors_wh, clusters.iterations

    return run


def plain_numpy(sizes: np.ndarray) -> Callable[[], Answer]:
    """k-means as it is usually written: every box against every centroid, every time; one run from random boxes."""

    def run() -> Answer:
        centroids = sizes[np.random.default_rng(0).choice(len(sizes), K, replace=False)]
        labels, iterations = np.full(len(sizes), -1), 0
        while True:
            new = (1 - size_iou(sizes, centroids)).argmin(axis=1)
            if (new == labels).all():
                return centroids, iterations
            labels, iterations = new, iterations + 1
            centroids = np.stack([sizes[labels == j].mean(axis=0) for j in range(K)])

    return run


def contenders(sizes: np.ndarray) -> dict[str, Callable[[], Answer]]:
    runs = {
        "yolo9000, 1 - IoU, best of 10 restarts": ours(sizes, "iou"),
        "plain NumPy, 1 - IoU, one run": plain_numpy(sizes),
        "yolo9000, Euclidean, best of 10 restarts": ours(sizes, "euclidean"),
    }
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        return runs

    def sklearn() -> Answer:
        kmeans = KMeans(K, n_init=1, tol=0, max_iter=1000, random_state=0).fit(sizes)
        return kmeans.cluster_centers_, kmeans.n_iter_

    return {**runs, "scikit-learn, Euclidean, one run": sklearn}


def timing(sizes: np.ndarray, rounds: int) -> None:
    runs = contenders(sizes)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    answers: dict[str, Answer] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            answers[name] = run()
            seconds[name].append(time.perf_counter() - start)
    print(f"| {len(sizes):,} boxes, k = {K}, to convergence | median s | min s | iterations over all | avg IOU, % |")
    print("|---|---|---|---|---|")
    for name, (anchors, iterations) in answers.items():
        iou = 100 * average_iou(sizes, anchors)
        median, minimum = statistics.median(seconds[name]), min(seconds[name])
        print(f"| {name} | {median:.2f} | {minimum:.2f} | {iterations} | {iou:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="write Figure 2, average IoU against k, as PNG")
    arguments = parser.parse_args()
    with np.load(arguments.folder / "box_sizes.npz") as boxes:
        pixels = boxes["voc07_trainval_nondifficult_pixels"].astype(np.float64)
        relative = boxes["voc0712_trainval_all"].astype(np.float64)
    print(f"{date.today()}, {platform.machine()}, one thread, {arguments.rounds} rounds\n")
    table_1(pixels)
    if arguments.plot:
        plot_report(report(pixels, range(1, 16), unit="pixels"), arguments.plot, k=5)
    timing(many_boxes(relative), arguments.rounds)


if __name__ == "__main__":
    main()
