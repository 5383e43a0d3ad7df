"""The HTML report of what a data set holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from yolo9000.data.dataset import Split
from yolo9000.data.stats import QUANTILES, Drift, SplitStats
from yolo9000.evaluation.report import CLASSES_SHOWN
from yolo9000.io.pages import Page, Section

__all__ = ["stats_page"]

SIZES_SHOWN = 20


def stats_page(
    name: str,
    classes: Sequence[str],
    stats: Mapping[Split, SplitStats],
    drift: Mapping[tuple[Split, Split], Drift],
) -> Page:
    """The report of `yolo9000 data stats`.

    Args:
        name: of the data set.
        classes: their names.
        stats: of each split.
        drift: between every two splits.
    """
    columns = ("split", "images", "boxes", "with image-level labels", "without objects")
    rows = [(split, s.images, s.boxes_of.total(), s.labelled, s.empty) for split, s in stats.items()]
    sections = [Section("Overview", f"{len(classes)} classes.", columns, rows)]
    if drift:
        rows_of_drift = [
            (f"{one}, {other}", round(d.classes, 3), round(d.sizes, 3), round(d.aspects, 3))
            for (one, other), d in drift.items()
        ]
        text = "How far splits differ: 0 not at all, 1 in everything."
        sections.append(Section("Drift", text, ("splits", "classes", "sizes", "aspects"), rows_of_drift))
    for split, one in stats.items():
        sections += _sections_of(split, one, classes)
    counts = stats.values()
    headlines = [
        ("images", f"{sum(one.images for one in counts):,}"),
        ("boxes", f"{sum(one.boxes_of.total() for one in counts):,}"),
        ("classes", f"{len(classes):,}"),
    ]
    return Page("Data stats", sections, name, headlines)


def _sections_of(split: Split, stats: SplitStats, classes: Sequence[str]) -> Iterator[Section]:
    counts = stats.boxes_of + stats.labels_of
    ordered = counts.most_common(CLASSES_SHOWN)
    rows = [(classes[i], stats.boxes_of[i], stats.images_of[i], stats.labels_of[i]) for i, _ in ordered]
    bars = [100 * count / ordered[0][1] for _, count in ordered]
    yield Section(f"Classes: {split}", "", ("class", "boxes", "images", "image-level labels", ""), rows, bars)
    quantiles = stats.quantiles()
    if quantiles:
        names = {"side_px": "side, pixels", "side_fraction": "side, fraction of the image", "aspect": "width / height"}
        columns = ("of boxes", *(f"{quantile:.0%}" for quantile in QUANTILES))
        yield Section(f"Boxes: {split}", "", columns, [(names[key], *values) for key, values in quantiles.items()])
    per_image = sorted(stats.boxes_per_image.items())
    if per_image:
        largest = max(images for _, images in per_image)
        bars = [100 * images / largest for _, images in per_image]
        yield Section(f"Boxes in an image: {split}", "", ("boxes", "images", ""), per_image, bars)
    sizes = [(f"{w} x {h}", images) for (w, h), images in stats.image_sizes.most_common(SIZES_SHOWN)]
    if sizes:
        yield Section(f"Image sizes: {split}", "", ("size", "images"), sizes)
