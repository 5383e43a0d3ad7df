"""Laws of the scores, against oracles: pycocotools, and VOC's development kit and others written plainly here."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.heads import parents_of_trees, tree_of
from support.paths import shared

from yolo9000.boxes import iou
from yolo9000.evaluation import match as matching
from yolo9000.evaluation.calibration import path_steps, reliability, reliability_by_depth
from yolo9000.evaluation.classification import accuracy_by_depth, top_k_accuracy
from yolo9000.evaluation.coco import coco_scores
from yolo9000.evaluation.curves import confusion_matrix, f1_curve
from yolo9000.evaluation.match import match
from yolo9000.evaluation.scored import Scored, collect
from yolo9000.evaluation.tree_ap import ap_by_depth, credited_ap, credited_precision_recall, cut_at_depths
from yolo9000.evaluation.tree_paths import Lineage, deepest_kept
from yolo9000.evaluation.tree_severity import localize, risk_curve, severity
from yolo9000.evaluation.voc import precision_recall, voc_ap
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxAnnotations, Detections, PathStep, TreeAnswer

WIDTH, HEIGHT = 400, 250


# --- random sets


@dataclass(frozen=True)
class Recipe:
    """What a random set is made from; the arrays, and how long they are, come from the seed."""

    seed: int
    images: int
    classes: int
    gts: int  # at most
    preds: int  # at most
    near: float
    whole_pixels: bool
    equal_scores: bool
    difficult: float = 0.0
    crowds: float = 0.0

    def make(self) -> Scored:
        rng = np.random.default_rng(self.seed)
        gts = int(rng.integers(self.gts // 2, self.gts + 1)) if self.images else 0
        preds = int(rng.integers(self.preds // 2, self.preds + 1)) if self.images else 0
        gt_images = np.sort(rng.integers(0, max(1, self.images), gts))
        gt_labels = rng.integers(0, self.classes, gts)
        gt_boxes = self._boxes(gts, rng)
        images, labels = rng.integers(0, max(1, self.images), preds), rng.integers(0, self.classes, preds)
        boxes = self._boxes(preds, rng)
        for i in np.flatnonzero(rng.random(preds) < self.near) if gts else ():
            at = rng.integers(gts)
            images[i] = gt_images[at]
            sides = np.tile(gt_boxes[at, 2:] - gt_boxes[at, :2], 2)
            boxes[i] = self._valid(gt_boxes[at] + rng.normal(0, 0.12, 4) * sides)
            labels[i] = gt_labels[at] if rng.random() < 0.8 else labels[i]
        scores = (
            rng.integers(1, 6, preds) / 5 if self.equal_scores else rng.permutation(preds + 1)[:preds] / (preds + 1)
        )
        sides = gt_boxes[:, 2:] - gt_boxes[:, :2]
        return Scored(
            classes=self.classes,
            sizes_wh=np.tile(np.array([WIDTH, HEIGHT], np.int64), (self.images, 1)),
            gt_images=gt_images,
            gt_boxes_xyxy=gt_boxes.astype(np.float32),
            gt_labels=gt_labels,
            gt_difficult=rng.random(gts) < self.difficult,
            gt_crowd=rng.random(gts) < self.crowds,
            gt_areas=(sides[:, 0] * sides[:, 1] * rng.uniform(0.3, 1, gts)).astype(np.float32),
            pred_images=images,
            pred_boxes_xyxy=boxes.astype(np.float32),
            pred_scores=scores.astype(np.float32),
            pred_labels=labels,
        )

    def _boxes(self, count: int, rng: np.random.Generator) -> np.ndarray:
        sides = np.exp(rng.uniform(np.log(6), np.log(200), (count, 2)))
        left_top = rng.random((count, 2)) * ([WIDTH, HEIGHT] - sides)
        return self._valid(np.concatenate([left_top, left_top + sides], axis=1))

    def _valid(self, boxes: np.ndarray) -> np.ndarray:
        boxes = np.round(boxes) if self.whole_pixels else boxes
        return np.concatenate([boxes[..., :2], np.maximum(boxes[..., 2:], boxes[..., :2] + 1)], axis=-1)


def recipes(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Recipe]:
    choices: dict[str, st.SearchStrategy[Any]] = {
        "seed": st.integers(0, 2**32 - 1),
        "images": st.sampled_from([2, 1, 3, 5, 6, 7, 8, 9, 10, 12, 0]),
        "classes": st.sampled_from([3, 1, 7, 25]),
        "gts": st.sampled_from([40] * 6 + [15] * 6 + [1, 0]),
        "preds": st.sampled_from([150] * 6 + [40] * 6 + [1, 0]),
        "near": st.sampled_from([0.7, 0.95, 0.2]),
        "whole_pixels": st.booleans(),
        "equal_scores": st.booleans(),
    }
    return st.builds(Recipe, **(choices | fixed))


FRACTIONS = st.sampled_from([0.0, 0.15, 0.5])


# --- pycocotools


def pycocotools_metrics(scored: Scored) -> list[float]:
    """The twelve numbers; the files are put together here, without the code under test."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(coco_of(scored, "gt"), coco_of(scored, "pred"), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [float(value) for value in evaluator.stats]


def coco_of(scored: Scored, side: str) -> COCO:
    records = []
    for i, (x1, y1, x2, y2) in enumerate(getattr(scored, f"{side}_boxes_xyxy").tolist()):
        record = {
            "id": i + 1,
            "image_id": int(getattr(scored, f"{side}_images")[i]),
            "category_id": int(getattr(scored, f"{side}_labels")[i]),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
        if side == "gt":
            record |= {"area": float(scored.gt_areas[i]), "iscrowd": int(scored.gt_crowd[i])}
        else:
            record |= {"score": float(scored.pred_scores[i])}
        records.append(record)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(scored.images)],
        "categories": [{"id": i} for i in range(scored.classes)],
        "annotations": records,
    }
    coco.createIndex()
    return coco


def our_metrics(scored: Scored) -> list[float]:
    """With pycocotools' -1 for what it has no objects for."""
    return [-1.0 if np.isnan(value) else value for value in coco_scores(scored).metrics.values()]


def assert_pycocotools_agrees(scored: Scored) -> None:
    """Recall to the last bit; precision but for the last, pycocotools adding 2^-52 to what it divides by."""
    ours, theirs = our_metrics(scored), pycocotools_metrics(scored)
    np.testing.assert_allclose(ours[:6], theirs[:6], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(ours[6:], theirs[6:])


@settings(deadline=None, max_examples=150)
@given(recipe=recipes(crowds=FRACTIONS))
def test_the_twelve_metrics_are_pycocotools(recipe: Recipe) -> None:
    assert_pycocotools_agrees(recipe.make())


def test_the_twelve_metrics_of_an_image_with_more_than_a_hundred_detections_are_pycocotools() -> None:
    recipe = Recipe(5, 1, 2, 24, 700, 0.9, False, False)
    scored = recipe.make()
    assert np.bincount(scored.pred_labels).max() > 250
    assert_pycocotools_agrees(scored)


# --- VOC's development kit


def devkit(scored: Scored, label: int, min_iou: float) -> tuple[list[float], list[float], int]:
    """VOCevaldet.m line by line: recall, precision, npos. Boxes are made inclusive first, as in VOC's files."""
    bounds = scored.gt_boxes_xyxy.astype(float) - [-1, -1, 0, 0]
    detections = scored.pred_boxes_xyxy.astype(float) - [-1, -1, 0, 0]
    ground: dict[int, list[dict[str, Any]]] = {}
    npos = 0
    for i in np.flatnonzero(scored.gt_labels == label):
        difficult = bool(scored.gt_difficult[i])
        entry = {"BB": bounds[i], "diff": difficult, "det": False}
        ground.setdefault(int(scored.gt_images[i]), []).append(entry)
        npos += not difficult
    ids = [i for i in range(len(scored.pred_labels)) if scored.pred_labels[i] == label]
    ids.sort(key=lambda i: -float(scored.pred_scores[i]))
    tp, fp = [0] * len(ids), [0] * len(ids)
    for d, i in enumerate(ids):
        bb = detections[i]
        ovmax, jmax = -np.inf, None
        for j, candidate in enumerate(ground.get(int(scored.pred_images[i]), [])):
            bbgt = candidate["BB"]
            bi = [max(bb[0], bbgt[0]), max(bb[1], bbgt[1]), min(bb[2], bbgt[2]), min(bb[3], bbgt[3])]
            iw, ih = bi[2] - bi[0] + 1, bi[3] - bi[1] + 1
            if iw > 0 and ih > 0:
                ua = (bb[2] - bb[0] + 1) * (bb[3] - bb[1] + 1) + (bbgt[2] - bbgt[0] + 1) * (bbgt[3] - bbgt[1] + 1)
                ov = iw * ih / (ua - iw * ih)
                if ov > ovmax:
                    ovmax, jmax = ov, j
        if ovmax >= min_iou:
            assert jmax is not None
            match_ = ground[int(scored.pred_images[i])][jmax]
            if not match_["diff"]:
                if not match_["det"]:
                    tp[d] = 1
                    match_["det"] = True
                else:
                    fp[d] = 1
        else:
            fp[d] = 1
    rec, prec, tps, fps = [], [], 0, 0
    for t, f in zip(tp, fp, strict=True):
        tps, fps = tps + t, fps + f
        rec.append(tps / npos if npos else np.nan)
        prec.append(tps / (tps + fps) if tps + fps else np.nan)
    return rec, prec, npos


def devkit_area(rec: list[float], prec: list[float]) -> float:
    """VOCap.m line by line. Precision 0/0, before anything counts, is what MATLAB's max skips."""
    mrec, mpre = [0.0, *rec, 1.0], [0.0, *(0.0 if np.isnan(p) else p for p in prec), 0.0]
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    return sum((mrec[i] - mrec[i - 1]) * mpre[i] for i in range(1, len(mrec)) if mrec[i] != mrec[i - 1])


def devkit_eleven_points(rec: list[float], prec: list[float]) -> float:
    """VOCevaldet.m of 2007, the recalls written as tenths."""
    ap = 0.0
    for tenth in range(11):
        reached = [p for r, p in zip(rec, prec, strict=True) if r >= tenth / 10 and not np.isnan(p)]
        ap += max(reached, default=0.0) / 11
    return ap


def assert_devkit_agrees(scored: Scored, min_iou: float) -> None:
    area, eleven = voc_ap(scored, min_iou), voc_ap(scored, min_iou, "eleven_point")
    for label in range(scored.classes):
        rec, prec, npos = devkit(scored, label, min_iou)
        if npos:
            assert area.values[label] == pytest.approx(devkit_area(rec, prec), abs=1e-12)
            assert eleven.values[label] == pytest.approx(devkit_eleven_points(rec, prec), abs=1e-12)
        else:
            assert np.isnan([area.values[label], eleven.values[label]]).all()


@settings(deadline=None, max_examples=100)
@given(recipe=recipes(difficult=FRACTIONS, whole_pixels=st.just(True)), min_iou=st.sampled_from([0.5, 0.25, 0.75]))
def test_voc_is_the_development_kit(recipe: Recipe, min_iou: float) -> None:
    assert_devkit_agrees(recipe.make(), min_iou)


# --- real detections


def ap_reference() -> Scored:
    """85 images: ground truth ``class left top right bottom [difficult]``, detections ``class score left ...``."""
    folder = shared("data", "ap-reference")
    files = sorted((folder / "ground-truth").glob("*.txt"))
    names = sorted(
        {line.split()[0] for kind in ("ground-truth", "detection-results") for line in lines_of(folder / kind)}
    )
    pairs = []
    for file in files:
        gts = [line.split() for line in file.read_text().splitlines()]
        preds = [line.split() for line in (folder / "detection-results" / file.name).read_text().splitlines()]
        labels = np.array([names.index(t[0]) for t in gts], np.int64)
        gt = BoxAnnotations.plain(exclusive([t[1:5] for t in gts]), labels)
        gt = replace(gt, difficult=np.array([t[5:] == ["difficult"] for t in gts], bool))
        detections = Detections(
            boxes_xyxy=exclusive([f[2:6] for f in preds]),
            scores=np.array([f[1] for f in preds], np.float32),
            labels=np.array([names.index(f[0]) for f in preds], np.int64),
            names=tuple(f[0] for f in preds),
            size_wh=(500, 375),
        )
        pairs.append((gt, detections))
    return collect(pairs, len(names))


def lines_of(folder: Path) -> list[str]:
    return [line for file in folder.glob("*.txt") for line in file.read_text().splitlines()]


def exclusive(boxes: list[list[str]]) -> np.ndarray:
    """VOC's first pixel is 1, and its last one is inside."""
    return np.array(boxes, np.float32).reshape(-1, 4) - np.array([1, 1, 0, 0], np.float32)


def test_real_detections_score_as_with_pycocotools() -> None:
    scored = ap_reference()
    assert (scored.images, len(scored.gt_labels)) == (85, 686)
    assert_pycocotools_agrees(scored)
    assert 0 < coco_scores(scored).metrics["map50_coco"] < 1


def test_real_detections_score_as_with_the_development_kit() -> None:
    scored = ap_reference()
    assert_devkit_agrees(scored, 0.5)
    assert 0 < voc_ap(scored).mean < 1


def test_real_detections_score_nearly_the_same_with_both_at_half() -> None:
    # COCO samples the curve at 101 recalls where VOC takes its area, and may give a duplicate another object.
    scored = ap_reference()
    assert coco_scores(scored).metrics["map50_coco"] == pytest.approx(voc_ap(scored).mean, abs=0.01)


# --- order, and pieces


@settings(deadline=None, max_examples=50)
@given(
    recipe=recipes(difficult=FRACTIONS, crowds=FRACTIONS, equal_scores=st.just(False), whole_pixels=st.just(False)),
    seed=st.integers(0, 2**32 - 1),
)
def test_order_does_not_matter_where_scores_differ(recipe: Recipe, seed: int) -> None:
    scored = recipe.make()
    rng = np.random.default_rng(seed)
    images, gts, preds = (
        rng.permutation(count) for count in (scored.images, len(scored.gt_labels), len(scored.pred_labels))
    )
    new_index = np.argsort(images)
    mixed = Scored(
        scored.classes,
        scored.sizes_wh[images],
        new_index[scored.gt_images[gts]] if scored.images else scored.gt_images,
        *(getattr(scored, f"gt_{name}")[gts] for name in ("boxes_xyxy", "labels", "difficult", "crowd", "areas")),
        new_index[scored.pred_images[preds]] if scored.images else scored.pred_images,
        *(getattr(scored, f"pred_{name}")[preds] for name in ("boxes_xyxy", "scores", "labels")),
    )
    tree = WordTree.from_parents([(label - 1) // 2 for label in range(scored.classes)])
    for score in (voc_ap, lambda s: voc_ap(s, 0.5, "eleven_point"), lambda s: credited_ap(s, tree)):
        np.testing.assert_array_equal(score(scored).values, score(mixed).values)
    np.testing.assert_array_equal(confusion_matrix(scored), confusion_matrix(mixed))
    np.testing.assert_array_equal(f1_curve(scored).f1, f1_curve(mixed).f1)
    np.testing.assert_allclose(our_metrics(scored), our_metrics(mixed), atol=1e-12)
    np.testing.assert_array_equal(
        list(vars(severity(scored, tree)).values()), list(vars(severity(mixed, tree)).values())
    )


@settings(deadline=None, max_examples=40)
@given(recipe=recipes(difficult=FRACTIONS, crowds=FRACTIONS), at_once=st.integers(1, 50))
def test_matching_in_blocks_is_matching_at_once(recipe: Recipe, at_once: int) -> None:
    scored = recipe.make()
    whole = match(scored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "PAIRS_AT_ONCE", at_once)
        apart = match(scored)
    np.testing.assert_array_equal(whole.gts, apart.gts)
    np.testing.assert_array_equal(whole.ignored, apart.ignored)


# --- how the scores hang together


@settings(deadline=None, max_examples=60)
@given(recipe=recipes(difficult=FRACTIONS, crowds=FRACTIONS), min_score=st.sampled_from([0.0, 0.3, 0.7]))
def test_confusion_counts_every_gt_once_and_hits_as_ap_does(recipe: Recipe, min_score: float) -> None:
    scored = recipe.make()
    matrix = confusion_matrix(scored, 0.5, min_score)
    given_ = scored.select_pred(scored.pred_scores >= min_score)
    hits = match(given_).hits
    np.testing.assert_array_equal(np.diag(matrix)[:-1], np.bincount(given_.pred_labels[hits], minlength=scored.classes))
    np.testing.assert_array_equal(matrix[:-1].sum(axis=1), scored.gt_by_class)
    assert matrix[-1, -1] == 0
    assert matrix[:, :-1].sum() <= len(given_.pred_labels)


@settings(deadline=None, max_examples=40)
@given(recipe=recipes(difficult=FRACTIONS))
def test_f1_is_that_of_the_detections_above_the_threshold(recipe: Recipe) -> None:
    scored = recipe.make()
    curve = f1_curve(scored)
    for threshold, precision, f1 in list(zip(curve.thresholds, curve.precision, curve.f1, strict=True))[::7]:
        matches = match(scored.select_pred(scored.pred_scores >= threshold))
        given_, hits = int((~matches.ignored).sum()), int(matches.hits.sum())
        assert precision == hits / given_
        assert f1 == pytest.approx(2 * hits / (given_ + scored.gt_by_class.sum()))


# --- trees


def tree_with(classes: int, seed: int) -> WordTree:
    rng = np.random.default_rng(seed)
    return WordTree.from_parents([int(rng.integers(-1, max(1, node))) if node else -1 for node in range(classes)])


@settings(deadline=None, max_examples=80)
@given(recipe=recipes(difficult=FRACTIONS, crowds=FRACTIONS))
def test_flat_tree_gives_the_flat_metrics(recipe: Recipe) -> None:
    scored = recipe.make()
    flat = WordTree.from_parents([-1] * scored.classes)
    for method in ("area", "eleven_point"):
        plain = voc_ap(scored, method=method).values
        (at_depth_0,) = ap_by_depth(scored, flat, method=method)
        np.testing.assert_array_equal(at_depth_0.values, plain)
        np.testing.assert_array_equal(credited_ap(scored, flat, method=method).values, plain)
    plain_curves, credited = precision_recall(scored), credited_precision_recall(scored, flat)
    assert list(plain_curves) == list(credited)
    for label, curve in plain_curves.items():
        for name, values in vars(curve).items():
            np.testing.assert_array_equal(values, getattr(credited[label], name))
    matrix = confusion_matrix(scored, 0.5, 0.0)[:-1, :-1]
    how_wrong = severity(scored, flat)
    assert (how_wrong.localized, how_wrong.mistakes) == (matrix.sum(), matrix.sum() - np.trace(matrix))
    if how_wrong.localized:
        assert how_wrong.mean_distance == pytest.approx(2 * how_wrong.mistakes / how_wrong.localized)
    if how_wrong.mistakes:
        assert how_wrong.mean_mistake_distance == 2


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 9), count=st.integers(1, 40))
def test_flat_tree_gives_the_flat_metrics_of_classifiers(seed: int, classes: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    flat = WordTree.from_parents([-1] * classes)
    probabilities = rng.dirichlet(np.ones(classes), count)
    answers, gts = probabilities.argmax(axis=1), rng.integers(0, classes, count)
    confidence, right = probabilities.max(axis=1), answers == gts
    top_1 = top_k_accuracy(probabilities, gts)
    np.testing.assert_array_equal(accuracy_by_depth(answers, gts, flat), [top_1])
    curve = risk_curve(answers, gts, confidence, flat)
    assert curve.specificity.tolist() == [1] * len(curve.risk)
    assert curve.risk[-1] == pytest.approx(1 - top_1)
    paths = [
        TreeAnswer((PathStep(int(a), "", float(c), float(c)),), "leaf", None, None)
        for a, c in zip(answers, confidence, strict=True)
    ]
    (by_depth,) = reliability_by_depth(path_steps(paths, gts, flat)).values()
    for name, values in vars(reliability(confidence, right)).items():
        np.testing.assert_array_equal(values, getattr(by_depth, name))


@settings(deadline=None, max_examples=80)
@given(parents=parents_of_trees(st.integers(1, 30)), seed=st.integers(0, 2**32 - 1))
def test_lineage_is_that_of_paths(parents: list[int], seed: int) -> None:
    tree = tree_of(parents)
    lineage = Lineage.of(tree)
    rng = np.random.default_rng(seed)
    answers, gts = rng.integers(0, len(tree), 20), rng.integers(0, len(tree), 20)
    paths = [(set(tree.path(int(a))), set(tree.path(int(t)))) for a, t in zip(answers, gts, strict=True)]
    assert lineage.distance(answers, gts).tolist() == [len(a ^ t) for a, t in paths]
    assert lineage.credit(answers, gts).tolist() == [len(a & t) / len(t) for a, t in paths]
    assert lineage.above(answers, gts).tolist() == [a <= t for a, t in paths]
    kept = rng.random(len(tree)) < 0.4
    expected = [next((n for n in reversed(tree.path(i)) if kept[n]), i) for i in range(len(tree))]
    assert deepest_kept(tree, kept).tolist() == expected


@settings(deadline=None, max_examples=60)
@given(recipe=recipes(difficult=FRACTIONS, crowds=FRACTIONS), seed=st.integers(0, 2**32 - 1))
def test_whatever_plain_ap_matches_is_matched_with_full_credit(recipe: Recipe, seed: int) -> None:
    scored = recipe.make()
    tree = tree_with(scored.classes, seed)
    hits = np.flatnonzero(match(scored).hits)
    pairs = localize(scored, tree)
    gt_of = dict(zip(pairs.preds.tolist(), pairs.gts.tolist(), strict=True))
    assert all(gt_of.get(int(i)) == match(scored).gts[i] for i in hits)
    credited = credited_precision_recall(scored, tree)
    for label, curve in precision_recall(scored).items():
        preds = curve.recall[-1] if len(curve.recall) else 0
        assert (credited[label].recall[-1] if len(credited[label].recall) else 0) >= preds - 1e-12
    assert len(np.unique(pairs.gts)) == len(pairs.gts)


@settings(deadline=None, max_examples=60)
@given(recipe=recipes(difficult=FRACTIONS, crowds=FRACTIONS), seed=st.integers(0, 2**32 - 1))
def test_last_depth_is_plain_ap_and_every_depth_is_that_of_relabelled_sets(recipe: Recipe, seed: int) -> None:
    scored = recipe.make()
    tree = tree_with(scored.classes, seed)
    depths = ap_by_depth(scored, tree)
    assert len(depths) == tree.depths.max() + 1
    np.testing.assert_array_equal(depths[-1].values, voc_ap(scored).values)
    for depth, (at_depth, rolled) in enumerate(zip(depths, cut_at_depths(scored, tree), strict=True)):
        assert (tree.depths[np.r_[rolled.gt_labels, rolled.pred_labels]] <= depth).all()
        np.testing.assert_array_equal(at_depth.values, voc_ap(rolled).values)


@settings(deadline=None, max_examples=60)
@given(recipe=recipes(near=st.just(0.98)), seed=st.integers(0, 2**32 - 1))
def test_cutting_suppresses_greedily(recipe: Recipe, seed: int) -> None:
    scored = recipe.make()
    tree = tree_with(scored.classes, seed)
    top = np.array([tree.path(label)[0] for label in range(len(tree))])
    stand: list[int] = []
    for i in sorted(range(len(scored.pred_labels)), key=lambda i: -float(scored.pred_scores[i])):
        label, image, box = scored.pred_labels[i], scored.pred_images[i], scored.pred_boxes_xyxy[i]
        if not any(
            scored.pred_images[j] == image
            and scored.pred_labels[j] != label
            and top[scored.pred_labels[j]] == top[label]
            and iou(scored.pred_boxes_xyxy[j], box) > 0.45
            for j in stand
        ):
            stand.append(i)
    rolled = next(cut_at_depths(scored, tree))
    np.testing.assert_array_equal(rolled.pred_labels, top[scored.pred_labels[sorted(stand)]])
    np.testing.assert_array_equal(rolled.pred_boxes_xyxy, scored.pred_boxes_xyxy[sorted(stand)])


@settings(deadline=None, max_examples=60)
@given(parents=parents_of_trees(st.integers(1, 30)), seed=st.integers(0, 2**32 - 1))
def test_accuracy_falls_with_depth(parents: list[int], seed: int) -> None:
    tree = tree_of(parents)
    rng = np.random.default_rng(seed)
    answers, gts = rng.integers(0, len(tree), 25), rng.integers(0, len(tree), 25)
    accuracy = accuracy_by_depth(answers, gts, tree)
    assert (np.diff(accuracy) <= 0).all()
    assert accuracy[-1] == (answers == gts).mean()


# --- calibration


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 60),
    bins=st.integers(1, 20),
    scheme=st.sampled_from(["width", "count"]),
    steps=st.sampled_from([5, 1000]),
)
def test_bins_hold_every_answer_where_it_belongs(seed: int, count: int, bins: int, scheme: Any, steps: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, correct = rng.integers(0, steps + 1, count) / steps, rng.random(count) < 0.5
    result = reliability(confidence, correct, bins, scheme)
    assert result.counts.sum() == count
    assert len(result.edges) == len(result.counts) + 1 <= bins + 1
    for b, (low, high) in enumerate(zip(result.edges[:-1], result.edges[1:], strict=True)):
        inside = (confidence > low) & (confidence <= high) | ((confidence == low) & (b == 0))
        assert result.counts[b] == inside.sum()
        if inside.any():
            assert result.accuracy[b] == pytest.approx(correct[inside].mean())
            assert result.confidence[b] == pytest.approx(confidence[inside].mean())
    if count:
        assert 0 <= result.ece <= result.mce + 1e-12 <= 1 + 1e-12
        assert abs(confidence.mean() - correct.mean()) <= result.ece + 1e-12
