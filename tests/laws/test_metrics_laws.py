"""Laws of the scores, against oracles: pycocotools, and VOC's development kit and others written plainly here."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import shared
from heads import parents_of_trees, tree_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolo9000.boxes import iou
from yolo9000.evaluation import match as matching
from yolo9000.evaluation.calibration import path_steps, reliability, reliability_by_depth
from yolo9000.evaluation.classification import accuracy_by_depth, roll_up_scores, top_k_accuracy
from yolo9000.evaluation.coco import coco_scores
from yolo9000.evaluation.curves import confusion_matrix, f1_curve
from yolo9000.evaluation.match import match
from yolo9000.evaluation.scored import Scored, collect
from yolo9000.evaluation.tree import (
    Lineage,
    ap_by_depth,
    back_off_curve,
    credited_ap,
    credited_precision_recall,
    deepest_kept,
    localise,
    risk_curve,
    roll_up,
    severity,
)
from yolo9000.evaluation.voc import precision_recall, voc_ap
from yolo9000.taxonomy.wordtree import WordTree
from yolo9000.types import BoxTruth, Detections, PathStep, TreeAnswer

WIDTH, HEIGHT = 400, 250


# --- random sets


@dataclass(frozen=True)
class Recipe:
    """What a random set is made from; the arrays, and how long they are, come from the seed."""

    seed: int
    pictures: int
    classes: int
    truths: int  # at most
    found: int  # at most
    near: float
    whole_pixels: bool
    equal_scores: bool
    difficult: float = 0.0
    crowds: float = 0.0

    def make(self) -> Scored:
        rng = np.random.default_rng(self.seed)
        truths = int(rng.integers(self.truths // 2, self.truths + 1)) if self.pictures else 0
        found = int(rng.integers(self.found // 2, self.found + 1)) if self.pictures else 0
        truth_images = np.sort(rng.integers(0, max(1, self.pictures), truths))
        truth_labels = rng.integers(0, self.classes, truths)
        truth_boxes = self._boxes(truths, rng)
        images, labels = rng.integers(0, max(1, self.pictures), found), rng.integers(0, self.classes, found)
        boxes = self._boxes(found, rng)
        for i in np.flatnonzero(rng.random(found) < self.near) if truths else ():
            at = rng.integers(truths)
            images[i] = truth_images[at]
            sides = np.tile(truth_boxes[at, 2:] - truth_boxes[at, :2], 2)
            boxes[i] = self._valid(truth_boxes[at] + rng.normal(0, 0.12, 4) * sides)
            labels[i] = truth_labels[at] if rng.random() < 0.8 else labels[i]
        scores = (
            rng.integers(1, 6, found) / 5 if self.equal_scores else rng.permutation(found + 1)[:found] / (found + 1)
        )
        sides = truth_boxes[:, 2:] - truth_boxes[:, :2]
        return Scored(
            classes=self.classes,
            sizes_wh=np.tile(np.array([WIDTH, HEIGHT], np.int64), (self.pictures, 1)),
            truth_images=truth_images,
            truth_boxes_xyxy=truth_boxes.astype(np.float32),
            truth_labels=truth_labels,
            truth_difficult=rng.random(truths) < self.difficult,
            truth_crowd=rng.random(truths) < self.crowds,
            truth_areas=(sides[:, 0] * sides[:, 1] * rng.uniform(0.3, 1, truths)).astype(np.float32),
            found_images=images,
            found_boxes_xyxy=boxes.astype(np.float32),
            found_scores=scores.astype(np.float32),
            found_labels=labels,
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
        "pictures": st.sampled_from([2, 1, 3, 5, 6, 7, 8, 9, 10, 12, 0]),
        "classes": st.sampled_from([3, 1, 7, 25]),
        "truths": st.sampled_from([40] * 6 + [15] * 6 + [1, 0]),
        "found": st.sampled_from([150] * 6 + [40] * 6 + [1, 0]),
        "near": st.sampled_from([0.7, 0.95, 0.2]),
        "whole_pixels": st.booleans(),
        "equal_scores": st.booleans(),
    }
    return st.builds(Recipe, **(choices | fixed))


SHARES = st.sampled_from([0.0, 0.15, 0.5])


# --- pycocotools


def pycocotools_numbers(scored: Scored) -> list[float]:
    """The twelve numbers; the files are put together here, without the code under test."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(coco_of(scored, "truth"), coco_of(scored, "found"), "bbox")
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
        if side == "truth":
            record |= {"area": float(scored.truth_areas[i]), "iscrowd": int(scored.truth_crowd[i])}
        else:
            record |= {"score": float(scored.found_scores[i])}
        records.append(record)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(scored.images)],
        "categories": [{"id": i} for i in range(scored.classes)],
        "annotations": records,
    }
    coco.createIndex()
    return coco


def our_numbers(scored: Scored) -> list[float]:
    """With pycocotools' -1 for what it has no truths for."""
    return [-1.0 if np.isnan(value) else value for value in coco_scores(scored).numbers.values()]


def assert_pycocotools_agrees(scored: Scored) -> None:
    """Recall to the last bit; precision but for the last, pycocotools adding 2^-52 to what it divides by."""
    ours, theirs = our_numbers(scored), pycocotools_numbers(scored)
    np.testing.assert_allclose(ours[:6], theirs[:6], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(ours[6:], theirs[6:])


@settings(deadline=None, max_examples=400)
@given(recipe=recipes(crowds=SHARES))
def test_the_twelve_numbers_are_pycocotools(recipe: Recipe) -> None:
    assert_pycocotools_agrees(recipe.make())


def test_the_twelve_numbers_of_a_picture_with_more_than_a_hundred_detections_are_pycocotools() -> None:
    recipe = Recipe(5, 1, 2, 24, 700, 0.9, False, False)
    scored = recipe.make()
    assert np.bincount(scored.found_labels).max() > 250
    assert_pycocotools_agrees(scored)


# --- VOC's development kit


def devkit(scored: Scored, label: int, min_iou: float) -> tuple[list[float], list[float], int]:
    """VOCevaldet.m line by line: recall, precision, npos. Boxes are made inclusive first, as in VOC's files."""
    bounds = scored.truth_boxes_xyxy.astype(float) - [-1, -1, 0, 0]
    detections = scored.found_boxes_xyxy.astype(float) - [-1, -1, 0, 0]
    ground: dict[int, list[dict[str, Any]]] = {}
    npos = 0
    for i in np.flatnonzero(scored.truth_labels == label):
        difficult = bool(scored.truth_difficult[i])
        entry = {"BB": bounds[i], "diff": difficult, "det": False}
        ground.setdefault(int(scored.truth_images[i]), []).append(entry)
        npos += not difficult
    ids = [i for i in range(len(scored.found_labels)) if scored.found_labels[i] == label]
    ids.sort(key=lambda i: -float(scored.found_scores[i]))
    tp, fp = [0] * len(ids), [0] * len(ids)
    for d, i in enumerate(ids):
        bb = detections[i]
        ovmax, jmax = -np.inf, None
        for j, candidate in enumerate(ground.get(int(scored.found_images[i]), [])):
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
            match_ = ground[int(scored.found_images[i])][jmax]
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
@given(recipe=recipes(difficult=SHARES, whole_pixels=st.just(True)), min_iou=st.sampled_from([0.5, 0.25, 0.75]))
def test_voc_is_the_development_kit(recipe: Recipe, min_iou: float) -> None:
    assert_devkit_agrees(recipe.make(), min_iou)


# --- real detections


def ap_reference() -> Scored:
    """85 pictures: truth lines ``class left top right bottom [difficult]``, detections ``class score left ...``."""
    folder = shared("data", "ap-reference")
    files = sorted((folder / "ground-truth").glob("*.txt"))
    names = sorted(
        {line.split()[0] for kind in ("ground-truth", "detection-results") for line in lines_of(folder / kind)}
    )
    pairs = []
    for file in files:
        truths = [line.split() for line in file.read_text().splitlines()]
        found = [line.split() for line in (folder / "detection-results" / file.name).read_text().splitlines()]
        labels = np.array([names.index(t[0]) for t in truths], np.int64)
        truth = BoxTruth.plain(exclusive([t[1:5] for t in truths]), labels)
        truth = replace(truth, difficult=np.array([t[5:] == ["difficult"] for t in truths], bool))
        detections = Detections(
            boxes_xyxy=exclusive([f[2:6] for f in found]),
            scores=np.array([f[1] for f in found], np.float32),
            labels=np.array([names.index(f[0]) for f in found], np.int64),
            names=tuple(f[0] for f in found),
            size_wh=(500, 375),
        )
        pairs.append((truth, detections))
    return collect(pairs, len(names))


def lines_of(folder: Path) -> list[str]:
    return [line for file in folder.glob("*.txt") for line in file.read_text().splitlines()]


def exclusive(boxes: list[list[str]]) -> np.ndarray:
    """VOC's first pixel is 1, and its last one is inside."""
    return np.array(boxes, np.float32).reshape(-1, 4) - np.array([1, 1, 0, 0], np.float32)


def test_real_detections_score_as_with_pycocotools() -> None:
    scored = ap_reference()
    assert (scored.images, len(scored.truth_labels)) == (85, 686)
    assert_pycocotools_agrees(scored)
    assert 0 < coco_scores(scored).numbers["AP50"] < 1


def test_real_detections_score_as_with_the_development_kit() -> None:
    scored = ap_reference()
    assert_devkit_agrees(scored, 0.5)
    assert 0 < voc_ap(scored).mean < 1


def test_real_detections_score_nearly_the_same_with_both_at_half() -> None:
    # COCO samples the curve at 101 recalls where VOC takes its area, and may give a second detection another truth.
    scored = ap_reference()
    assert coco_scores(scored).by_class_at_50.mean == pytest.approx(voc_ap(scored).mean, abs=0.01)


# --- order, and pieces


@settings(deadline=None, max_examples=50)
@given(
    recipe=recipes(difficult=SHARES, crowds=SHARES, equal_scores=st.just(False), whole_pixels=st.just(False)),
    seed=st.integers(0, 2**32 - 1),
)
def test_order_does_not_matter_where_scores_differ(recipe: Recipe, seed: int) -> None:
    scored = recipe.make()
    rng = np.random.default_rng(seed)
    pictures, truths, found = (
        rng.permutation(count) for count in (scored.images, len(scored.truth_labels), len(scored.found_labels))
    )
    new_place = np.argsort(pictures)
    mixed = Scored(
        scored.classes,
        scored.sizes_wh[pictures],
        new_place[scored.truth_images[truths]] if scored.images else scored.truth_images,
        *(getattr(scored, f"truth_{name}")[truths] for name in ("boxes_xyxy", "labels", "difficult", "crowd", "areas")),
        new_place[scored.found_images[found]] if scored.images else scored.found_images,
        *(getattr(scored, f"found_{name}")[found] for name in ("boxes_xyxy", "scores", "labels")),
    )
    tree = WordTree.from_parents([(label - 1) // 2 for label in range(scored.classes)])
    for score in (voc_ap, lambda s: voc_ap(s, 0.5, "eleven_point"), lambda s: credited_ap(s, tree)):
        np.testing.assert_array_equal(score(scored).values, score(mixed).values)
    np.testing.assert_array_equal(confusion_matrix(scored), confusion_matrix(mixed))
    np.testing.assert_array_equal(f1_curve(scored).f1, f1_curve(mixed).f1)
    np.testing.assert_allclose(our_numbers(scored), our_numbers(mixed), atol=1e-12)
    np.testing.assert_array_equal(
        list(vars(severity(scored, tree)).values()), list(vars(severity(mixed, tree)).values())
    )


@settings(deadline=None, max_examples=40)
@given(recipe=recipes(difficult=SHARES, crowds=SHARES), at_once=st.integers(1, 50))
def test_matching_in_blocks_is_matching_at_once(recipe: Recipe, at_once: int) -> None:
    scored = recipe.make()
    whole = match(scored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "PAIRS_AT_ONCE", at_once)
        apart = match(scored)
    np.testing.assert_array_equal(whole.truths, apart.truths)
    np.testing.assert_array_equal(whole.ignored, apart.ignored)


# --- how the scores hang together


@settings(deadline=None, max_examples=60)
@given(recipe=recipes(difficult=SHARES, crowds=SHARES), min_score=st.sampled_from([0.0, 0.3, 0.7]))
def test_confusion_counts_every_truth_once_and_hits_as_ap_does(recipe: Recipe, min_score: float) -> None:
    scored = recipe.make()
    matrix = confusion_matrix(scored, 0.5, min_score)
    given_ = scored.select_found(scored.found_scores >= min_score)
    hits = match(given_).hits
    np.testing.assert_array_equal(
        np.diag(matrix)[:-1], np.bincount(given_.found_labels[hits], minlength=scored.classes)
    )
    np.testing.assert_array_equal(matrix[:-1].sum(axis=1), scored.truths_by_class)
    assert matrix[-1, -1] == 0
    assert matrix[:, :-1].sum() <= len(given_.found_labels)


@settings(deadline=None, max_examples=40)
@given(recipe=recipes(difficult=SHARES))
def test_f1_is_that_of_the_detections_above_the_threshold(recipe: Recipe) -> None:
    scored = recipe.make()
    curve = f1_curve(scored)
    for threshold, precision, f1 in list(zip(curve.thresholds, curve.precision, curve.f1, strict=True))[::7]:
        matches = match(scored.select_found(scored.found_scores >= threshold))
        given_, hits = int((~matches.ignored).sum()), int(matches.hits.sum())
        assert precision == hits / given_
        assert f1 == pytest.approx(2 * hits / (given_ + scored.truths_by_class.sum()))


# --- trees


def tree_with(classes: int, seed: int) -> WordTree:
    rng = np.random.default_rng(seed)
    return WordTree.from_parents([int(rng.integers(-1, max(1, node))) if node else -1 for node in range(classes)])


@settings(deadline=None, max_examples=80)
@given(recipe=recipes(difficult=SHARES, crowds=SHARES))
def test_flat_tree_gives_the_flat_numbers(recipe: Recipe) -> None:
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
    assert (how_wrong.found, how_wrong.mistakes) == (matrix.sum(), matrix.sum() - np.trace(matrix))
    if how_wrong.found:
        assert how_wrong.mean_distance == pytest.approx(2 * how_wrong.mistakes / how_wrong.found)
    if how_wrong.mistakes:
        assert how_wrong.mean_distance_of_mistakes == 2


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 9), count=st.integers(1, 40))
def test_flat_tree_gives_the_flat_numbers_of_classifiers(seed: int, classes: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    flat = WordTree.from_parents([-1] * classes)
    probabilities = rng.dirichlet(np.ones(classes), count)
    answers, truths = probabilities.argmax(axis=1), rng.integers(0, classes, count)
    confidence, right = probabilities.max(axis=1), answers == truths
    top_1 = top_k_accuracy(probabilities, truths)
    np.testing.assert_array_equal(accuracy_by_depth(answers, truths, flat), [top_1])
    rolled, nodes = roll_up_scores(probabilities, np.arange(classes), flat, np.ones(classes, bool))
    np.testing.assert_array_equal(rolled, probabilities)
    assert nodes.tolist() == list(range(classes))
    curve = risk_curve(answers, truths, confidence, flat)
    assert curve.specificity.tolist() == [1] * len(curve.risk)
    assert curve.risk[-1] == pytest.approx(1 - top_1)
    paths = [
        TreeAnswer((PathStep(int(a), "", float(c), float(c)),), "leaf", None, None)
        for a, c in zip(answers, confidence, strict=True)
    ]
    backed_off = back_off_curve(paths, truths, flat)
    np.testing.assert_allclose(backed_off.risk, 1 - top_1)
    (by_depth,) = reliability_by_depth(path_steps(paths, truths, flat)).values()
    for name, values in vars(reliability(confidence, right)).items():
        np.testing.assert_array_equal(values, getattr(by_depth, name))


@settings(deadline=None, max_examples=80)
@given(parents=parents_of_trees(st.integers(1, 30)), seed=st.integers(0, 2**32 - 1))
def test_lineage_is_that_of_paths(parents: list[int], seed: int) -> None:
    tree = tree_of(parents)
    lineage = Lineage.of(tree)
    rng = np.random.default_rng(seed)
    answers, truths = rng.integers(0, len(tree), 20), rng.integers(0, len(tree), 20)
    ways = [(set(tree.path(int(a))), set(tree.path(int(t)))) for a, t in zip(answers, truths, strict=True)]
    assert lineage.distance(answers, truths).tolist() == [len(a ^ t) for a, t in ways]
    assert lineage.credit(answers, truths).tolist() == [len(a & t) / len(t) for a, t in ways]
    assert lineage.above(answers, truths).tolist() == [a <= t for a, t in ways]
    kept = rng.random(len(tree)) < 0.4
    expected = [next((n for n in reversed(tree.path(i)) if kept[n]), i) for i in range(len(tree))]
    assert deepest_kept(tree, kept).tolist() == expected


@settings(deadline=None, max_examples=60)
@given(recipe=recipes(difficult=SHARES, crowds=SHARES), seed=st.integers(0, 2**32 - 1))
def test_whatever_plain_ap_finds_is_found_with_full_credit(recipe: Recipe, seed: int) -> None:
    scored = recipe.make()
    tree = tree_with(scored.classes, seed)
    hits = np.flatnonzero(match(scored).hits)
    pairs = localise(scored, tree)
    truth_of = dict(zip(pairs.found.tolist(), pairs.truths.tolist(), strict=True))
    assert all(truth_of.get(int(i)) == match(scored).truths[i] for i in hits)
    credited = credited_precision_recall(scored, tree)
    for label, curve in precision_recall(scored).items():
        found = curve.recall[-1] if len(curve.recall) else 0
        assert (credited[label].recall[-1] if len(credited[label].recall) else 0) >= found - 1e-12
    assert len(np.unique(pairs.truths)) == len(pairs.truths)


@settings(deadline=None, max_examples=60)
@given(recipe=recipes(difficult=SHARES, crowds=SHARES), seed=st.integers(0, 2**32 - 1))
def test_last_depth_is_plain_ap_and_every_depth_is_that_of_relabelled_sets(recipe: Recipe, seed: int) -> None:
    scored = recipe.make()
    tree = tree_with(scored.classes, seed)
    depths = ap_by_depth(scored, tree)
    assert len(depths) == tree.depths.max() + 1
    np.testing.assert_array_equal(depths[-1].values, voc_ap(scored).values)
    for depth, at_depth in enumerate(depths):
        rolled = roll_up(scored, tree, tree.depths <= depth)
        assert (tree.depths[np.r_[rolled.truth_labels, rolled.found_labels]] <= depth).all()
        np.testing.assert_array_equal(at_depth.values, voc_ap(rolled).values)


@settings(deadline=None, max_examples=60)
@given(recipe=recipes(near=st.just(0.98)), seed=st.integers(0, 2**32 - 1))
def test_roll_up_suppresses_greedily(recipe: Recipe, seed: int) -> None:
    scored = recipe.make()
    tree = tree_with(scored.classes, seed)
    top = np.array([tree.path(label)[0] for label in range(len(tree))])
    stand: list[int] = []
    for i in sorted(range(len(scored.found_labels)), key=lambda i: -float(scored.found_scores[i])):
        label, image, box = scored.found_labels[i], scored.found_images[i], scored.found_boxes_xyxy[i]
        if not any(
            scored.found_images[j] == image
            and scored.found_labels[j] != label
            and top[scored.found_labels[j]] == top[label]
            and iou(scored.found_boxes_xyxy[j], box) > 0.45
            for j in stand
        ):
            stand.append(i)
    rolled = roll_up(scored, tree, tree.depths == 0)
    np.testing.assert_array_equal(rolled.found_labels, top[scored.found_labels[sorted(stand)]])
    np.testing.assert_array_equal(rolled.found_boxes_xyxy, scored.found_boxes_xyxy[sorted(stand)])


@settings(deadline=None, max_examples=60)
@given(parents=parents_of_trees(st.integers(1, 30)), seed=st.integers(0, 2**32 - 1))
def test_accuracy_falls_with_depth_and_risk_with_back_off(parents: list[int], seed: int) -> None:
    tree = tree_of(parents)
    rng = np.random.default_rng(seed)
    answers, truths = rng.integers(0, len(tree), 25), rng.integers(0, len(tree), 25)
    accuracy = accuracy_by_depth(answers, truths, tree)
    assert (np.diff(accuracy) <= 0).all()
    assert accuracy[-1] == (answers == truths).mean()
    paths = []
    for node in answers:
        way = tree.path(int(node))
        shares = np.cumprod(rng.random(len(way)))
        steps = tuple(PathStep(n, "", 0.5, float(p)) for n, p in zip(way, shares, strict=True))
        paths.append(TreeAnswer(steps, "leaf", None, None))
    curve = back_off_curve(paths, truths, tree)
    assert (np.diff(curve.risk) >= -1e-12).all()
    assert (np.diff(curve.specificity) >= -1e-12).all()


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
