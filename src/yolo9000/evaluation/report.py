"""HTML reports in one file each: the contents of a data set, and the metrics of a detector."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from yolo9000.data.check import CheckResult, SplitCheck
from yolo9000.data.dataset import DataSet, Split
from yolo9000.data.images import load_image
from yolo9000.evaluation.draw import gt_as_detections
from yolo9000.evaluation.evaluate import Evaluation, Mistake
from yolo9000.evaluation.metric_names import metric_label
from yolo9000.evaluation.plots import (
    plot_confusion,
    plot_f1,
    plot_precision_recall,
    plot_reliability,
    plot_specificity_risk,
)
from yolo9000.io.draw import annotate
from yolo9000.io.pages import Branch, Page, PageFigure, Section
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import Sample

__all__ = ["check_page", "evaluation_page", "plots_of"]

SHOWN_WIDTH = 320  # pixels of an image in a report
PAIR_WIDTH = 480  # of one of two images side by side
ISSUES_SHOWN = 500
CLASSES_SHOWN = 200
HEADLINES = ("map50", "map", "best_f1", "map50_partial_credit", "top1", "top5")
CLASS_COLUMNS = ("class", "objects", "AP50", "AP50-95", "small", "medium", "large", "")


def check_page(result: CheckResult, data_sets: Mapping[Split, DataSet]) -> Page:
    """The report of `yolo9000 data check`: counts, issues, classes, sizes of boxes, images with their labels."""
    sections = [_overview(result), _issues(result)]
    if result.warnings:
        rows = [(issue.code, issue.where, issue.message, issue.suggestion) for issue in result.warnings]
        sections.append(Section("Warnings", columns=("code", "where", "what", "what to do"), rows=rows))
    sizes = [_sizes_figure(name, split) for name, split in result.splits.items() if split.boxes_of]
    if sizes:
        text = "Width and height of every box, as fractions of its image."
        sections.append(Section("Sizes of boxes", text, figures=sizes))
    for name, split in result.splits.items():
        figures = [_sample_figure(sample, data_sets[name].classes) for sample in split.shown]
        sections.append(Section(f"Images: {name}", figures=figures))
    sections += [_classes(name, split, result.classes) for name, split in result.splits.items()]
    splits = result.splits.values()
    headlines = [
        ("images", f"{sum(split.images for split in splits):,}"),
        ("boxes", f"{sum(split.boxes_of.total() for split in splits):,}"),
        ("classes", f"{len(result.classes):,}"),
        ("issues", f"{len(result.issues()):,}"),
        ("warnings", f"{len(result.warnings):,}"),
    ]
    return Page("Data check", sections, result.name, headlines)


def _overview(result: CheckResult) -> Section:
    columns = ("split", "images", "with boxes", "with image-level labels", "boxes", "issues")
    rows = [
        (name, split.images, split.boxed, split.labelled, split.boxes_of.total(), len(split.issues))
        for name, split in result.splits.items()
    ]
    return Section("Overview", f"{len(result.classes)} classes.", columns, rows)


def _issues(result: CheckResult) -> Section:
    issues = result.issues()
    if not issues:
        return Section("Issues", "None found.")
    counts = ", ".join(f"{count} x {code}" for code, count in Counter(issue.code for issue in issues).most_common())
    cut = f" The first {ISSUES_SHOWN} of them:" if len(issues) > ISSUES_SHOWN else ""
    rows = [(issue.code, issue.where, issue.message, issue.suggestion) for issue in issues[:ISSUES_SHOWN]]
    return Section("Issues", f"{counts}.{cut}", ("code", "where", "what", "what to do"), rows)


def _classes(name: str, split: SplitCheck, classes: Sequence[str]) -> Section:
    counts = split.boxes_of + split.labels_of
    highest = max(counts.values(), default=1)
    ordered = counts.most_common(CLASSES_SHOWN)
    rows = [(classes[label], split.boxes_of[label], split.labels_of[label]) for label, _ in ordered]
    bars = [100 * count / highest for _, count in ordered]
    missing = [name for label, name in enumerate(classes) if label not in counts]
    text = f"Without any object: {', '.join(missing[:50])}{' ...' if len(missing) > 50 else ''}." if missing else ""
    return Section(f"Classes: {name}", text, ("class", "boxes", "image-level labels", ""), rows, bars)


def _sizes_figure(name: str, split: SplitCheck) -> PageFigure:
    return PageFigure(f"boxes in {name}", "image/png", _plot_sizes(np.concatenate(split.sizes_wh)), SHOWN_WIDTH)


def _plot_sizes(sizes_wh: Float32[np.ndarray, "n 2"]) -> bytes:
    from yolo9000.evaluation.figures import Figure

    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(sizes_wh[:, 0], sizes_wh[:, 1], s=4, alpha=min(1.0, 300 / len(sizes_wh) + 0.05), color="#4f7cac")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="width", ylabel="height", aspect="equal")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _sample_figure(sample: Sample, classes: Sequence[str]) -> PageFigure:
    image = load_image(sample.image, sample.name).pixels
    if sample.boxes is not None:
        gt = gt_as_detections(sample, classes, (image.shape[1], image.shape[0]))
        image = annotate(image, gt, show_score=False)
    labels = ", ".join(classes[label] for label in sample.image_labels)
    return _image_figure(image, f"{sample.name}{': ' if labels else ''}{labels}")


def _image_figure(image: UInt8[np.ndarray, "h w 3"], caption: str, width: int = SHOWN_WIDTH) -> PageFigure:
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((2 * SHOWN_WIDTH, 2 * SHOWN_WIDTH))
    stream = io.BytesIO()
    thumbnail.save(stream, "JPEG", quality=85)
    return PageFigure(caption, "image/jpeg", stream.getvalue(), width)


def plots_of(evaluation: Evaluation) -> dict[str, bytes]:
    """The plots of an evaluation as PNG files, by name."""
    plots = {
        "precision_recall": plot_precision_recall(evaluation.curves, evaluation.classes),
        "f1": plot_f1(evaluation.f1),
        "calibration": plot_reliability(evaluation.calibration),
    }
    if evaluation.confusion is not None:
        plots["confusion"] = plot_confusion(evaluation.confusion, evaluation.classes)
    if evaluation.risk is not None:
        plots["specificity_risk"] = plot_specificity_risk({"answers": evaluation.risk})
    return plots


def evaluation_page(evaluation: Evaluation, plots: Mapping[str, bytes]) -> Page:
    """The report of `yolo9000 val`: metrics, classes, plots, and the worst mistakes as images."""
    text = "Ground truth left, predictions at the best threshold right; the images with the most errors."
    images = [figure for mistake in evaluation.mistakes for figure in _mistake_figures(mistake, evaluation.classes)]
    metrics = [(metric_label(key), _shown(value)) for key, value in evaluation.metrics.items()]
    sections = [
        Section(
            "Curves", figures=[PageFigure(_words(name), "image/png", data, PAIR_WIDTH) for name, data in plots.items()]
        ),
        Section("Worst mistakes", text, figures=images),
        Section("Scores", f"{evaluation.images:,} images.", ("metric", "value"), metrics),
    ]
    if evaluation.by_depth:
        rows = [(depth, _shown(value)) for depth, value in evaluation.by_depth.items()]
        sections.append(Section("By depth of the tree", columns=("depth", "mAP50"), rows=rows))
    sections.append(_class_table(evaluation))
    if evaluation.tree is not None:
        text = "Objects at or below each node, and AP50 of those that the ground truth names so."
        sections.append(Section("Tree", text, tree=_branches(evaluation, evaluation.tree)))
    return Page("Validation", sections, evaluation.name, _headlines(evaluation))


def _headlines(evaluation: Evaluation) -> list[tuple[str, str]]:
    values = {key: evaluation.metrics[key] for key in HEADLINES if key in evaluation.metrics}
    shown = [(metric_label(key), f"{value:.3f}") for key, value in values.items() if not math.isnan(value)]
    return [*shown, ("images", f"{evaluation.images:,}"), ("objects", f"{int(evaluation.gts.sum()):,}")]


def _branches(evaluation: Evaluation, tree: WordTree) -> list[Branch]:
    """The part of the tree that the ground truth has objects in."""
    gts = evaluation.gts.astype(np.int64)
    for node in reversed(range(len(tree))):
        if tree.parents[node] >= 0:
            gts[tree.parents[node]] += gts[node]

    def below(node: int) -> tuple[Branch, ...]:
        return tuple(
            branch(child) for child in sorted(tree.children(node), key=lambda child: -gts[child]) if gts[child]
        )

    def branch(node: int) -> Branch:
        ap = "" if math.isnan(evaluation.ap[node]) else f"{evaluation.ap[node]:.4f}"
        return Branch(evaluation.classes[node], (f"{gts[node]:,}", ap), below(node))

    return list(below(-1))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _class_table(evaluation: Evaluation) -> Section:
    order = sorted(np.flatnonzero(evaluation.gts), key=lambda label: -evaluation.ap[label])
    rows = [
        (evaluation.classes[i], int(evaluation.gts[i]), *map(_shown, (evaluation.ap[i], *evaluation.ap_coco[i])))
        for i in order[:CLASSES_SHOWN]
    ]
    bars = [100 * evaluation.ap[i] for i in order[:CLASSES_SHOWN]]
    return Section("Classes", columns=CLASS_COLUMNS, rows=rows, bars=bars)


def _shown(value: float) -> float | str:
    return "no ground truth" if math.isnan(value) else round(float(value), 4)


def _mistake_figures(mistake: Mistake, classes: Sequence[str]) -> Iterable[PageFigure]:
    image = load_image(mistake.sample.image, mistake.sample.name).pixels
    gt = gt_as_detections(mistake.sample, classes, (image.shape[1], image.shape[0]))
    yield _image_figure(annotate(image, gt, show_score=False), f"{mistake.sample.name}: ground truth", PAIR_WIDTH)
    caption = f"{mistake.wrong} wrong, {mistake.missed} missed"
    yield _image_figure(annotate(image, mistake.detections), caption, PAIR_WIDTH)
