"""What labelling very many images takes, from figures measured on this machine.

    python benchmarks/cost.py [--images 1e9] [--classes 100000] [--days 7] [--model yolo9000-small] [--price 0.04]

Measures one core: labelling JPEG files of 640 x 480, from file to row, in one thread, in time of the CPU; and
post-processing with that number of classes, beside that with the model's own. The rest is multiplication, which
assumes that

- a core does the same wherever it is, and cores do not slow each other down;
- images come as fast as they are labelled: "read" is what storage must give;
- many classes cost time in post-processing only, since class rows are multiplied only where they can matter (lazy
  head); the network is that of the model;
- a row has five boxes;
- nothing else is counted: neither training, nor starting, nor what a cluster does besides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from folder import write_photographs
from growth import ANCHORS, CHANNELS, post_processing

from yolo9000.bench.machine import cpu_name
from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.labeling.images import list_images
from yolo9000.labeling.job import LabelJob
from yolo9000.labeling.label import LabelSettings
from yolo9000.labeling.parts import PART_LENGTH

BOXES = 20  # above the threshold, in post-processing: more than most photographs have
BOX = {
    "box_xyxy": [112.125, 64.875, 320.625, 280.375],
    "id": "n02084071",
    "score": 0.512345,
    "models": 1,
    "name": "dog",
}
ROW = {"image": "0001/00000001.jpg", "width": 640, "height": 480, "boxes": [BOX] * 5}
DAY = 86_400


@dataclass(frozen=True)
class Measured:
    """Of one image on one core.

    Attributes:
        seconds: from file to row.
        more_seconds: of post-processing with many classes instead of the model's.
        read_bytes: of the file.
        row_bytes: of the row.
    """

    seconds: float
    more_seconds: float
    read_bytes: float
    row_bytes: float


@dataclass(frozen=True)
class Cost:
    """Of all images.

    Attributes:
        core_hours: of labelling.
        cores: that do it in the given days.
        read_bytes_per_second: of all cores together.
        row_bytes: of the result.
        parts: number of files that it is written in.
        head_bytes: memory for the class rows, float32, in each worker.
    """

    core_hours: float
    cores: float
    read_bytes_per_second: float
    row_bytes: float
    parts: float
    head_bytes: float


def cost(one: Measured, images: float, classes: int, days: float) -> Cost:
    seconds = images * (one.seconds + one.more_seconds)
    return Cost(
        core_hours=seconds / 3600,
        cores=seconds / (days * DAY),
        read_bytes_per_second=images * one.read_bytes / (days * DAY),
        row_bytes=images * one.row_bytes,
        parts=images / PART_LENGTH,
        head_bytes=4.0 * ANCHORS * classes * (CHANNELS + 1),
    )


def measure(model: str, classes: int, images: int) -> Measured:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_photographs(folder, images)
        labeler = LabelJob([model], LabelSettings(), engine={"threads": 1}).labeler()
        listed = list_images([folder])
        labeler.record(listed[0])
        began = time.process_time()  # of this process's one core, whatever else the machine does
        for image in listed:
            labeler.record(image)
        seconds = (time.process_time() - began) / images
        read = statistics.mean(Path(image.path).stat().st_size for image in listed)
    own = post_processing(len(labeler.tree), BOXES)
    more = max(0.0, post_processing(classes, BOXES) - own) / 1e3
    return Measured(seconds, more, read, len(json.dumps(ROW)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=float, default=1e9)
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--model", default=BUNDLED)
    parser.add_argument("--measured", type=int, default=200, help="images to measure with")
    parser.add_argument("--price", type=float, default=0.04, help="of an hour of a core, in any currency")
    options = parser.parse_args()
    one = measure(options.model, options.classes, options.measured)
    all_ = cost(one, options.images, options.classes, options.days)
    print(f"{cpu_name()}; {options.model}, {options.measured} images of 640 x 480\n")
    print("| | |\n|---|---|")
    print(f"| one image, one core | {1e3 * one.seconds:.1f} ms |")
    print(f"| more for {options.classes:,} classes | {1e3 * one.more_seconds:.2f} ms |")
    print(f"| file, row | {one.read_bytes / 1e3:.0f} kB, {one.row_bytes:.0f} bytes |")
    print(f"| {options.images:,.0f} images | {all_.core_hours:,.0f} core hours |")
    print(f"| in {options.days:g} days | {all_.cores:,.0f} cores |")
    print(f"| read | {all_.read_bytes_per_second / 1e6:,.0f} MB a second |")
    print(f"| written | {all_.row_bytes / 1e9:,.0f} GB in {all_.parts:,.0f} parts |")
    print(f"| class rows, each worker | {all_.head_bytes / 1e6:,.0f} MB |")
    print(f"| at {options.price:g} for a core hour | {all_.core_hours * options.price:,.0f} |")


if __name__ == "__main__":
    main()
