"""The simulations of the labelling loop, on few images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from support.paths import ROOT
from support.small_data import write_voc_set

from yolo9000.training.distributed import join_world
from yolo9000.types import BoxAnnotations, ImageFile, Sample

FIRST, SECOND = (10.0, 20.0, 50.0, 44.0), (60.0, 8.0, 90.0, 40.0)


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])


@pytest.mark.usefixtures("benchmarks")
def test_planted_errors_are_as_many_as_asked_for_and_known() -> None:
    from label_errors import plant

    size_wh = (100, 50)
    gt = BoxAnnotations.plain(np.array([FIRST, SECOND] * 30, np.float32), np.array([0, 2] * 30))
    one = plant(Sample("a", ImageFile(Path("a.jpg")), "a.txt", size_wh, gt), 3, 0.5, np.random.default_rng(0))
    kinds = [kind for kind, *_ in one.errors]
    assert set(kinds) == {"class", "moved", "deleted"}
    annotations = one.sample.boxes
    assert annotations is not None
    assert len(annotations) == len(gt) - kinds.count("deleted")
    assert 15 <= len(kinds) <= 45
    for kind, before, after in one.errors:
        assert (kind == "moved") == (not np.array_equal(before, after))
        assert after.min() >= 0
        assert (after <= [*size_wh, *size_wh]).all()
    ordinary = {(FIRST, 0), (SECOND, 2)}
    pairs = zip(annotations.boxes_xyxy.tolist(), annotations.labels.tolist(), strict=True)
    annotated = [(tuple(box), label) for box, label in pairs]
    wrong = sum(pair not in ordinary for pair in annotated)
    assert wrong == kinds.count("class") + kinds.count("moved")


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(
    ("proposed", "clicks"),
    [
        ([], 1 + 2),  # both are drawn
        ([(FIRST, 0.9, 0), (SECOND, 0.8, 1)], 1),
        ([(FIRST, 0.9, 1), (SECOND, 0.8, 1)], 1 + 1),  # another label
        ([((10, 20, 50, 38), 0.9, 0), (SECOND, 0.8, 1)], 1),  # 18 of 24 pixels high: IoU 0.75
        ([((10, 20, 50, 35), 0.9, 0), (SECOND, 0.8, 1)], 1 + 1),  # 15 of 24: 0.625
        ([((10, 20, 50, 31), 0.9, 0), (SECOND, 0.8, 1)], 1 + 2),  # 11 of 24: 0.46, deleted, and one drawn
        ([(FIRST, 0.9, 0), (SECOND, 0.2, 1)], 1 + 1),  # a score that is not shown
        ([(FIRST, 0.9, 0), (FIRST, 0.8, 0), (SECOND, 0.7, 1)], 1 + 1),  # one of two is deleted
    ],
)
def test_a_click_is_for_each_box_that_is_wrong(
    proposed: list[tuple[tuple[float, ...], float, int]], clicks: int
) -> None:
    from annotate import clicks_to_correct

    from yolo9000.types import Detections

    gt = BoxAnnotations.plain(np.array([FIRST, SECOND], np.float32), np.array([0, 1]))
    boxes, scores, labels = zip(*proposed, strict=True) if proposed else ((), (), ())
    shown = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
        tuple("ab"[label] for label in labels),
        (100, 50),
    )
    assert clicks_to_correct(gt, shown, 0.25) == clicks
    assert clicks_to_correct(gt, shown, 1.0) == 1 + 2  # none is shown


@pytest.mark.usefixtures("benchmarks")
def test_detectors_learn_the_planted_annotations_and_not_those_of_the_files(tmp_path: Path) -> None:
    from fine_tuned import Given, fine_tuning
    from label_errors import plant

    from yolo9000.data.dataset import open_data
    from yolo9000.training.splits import TrainingData
    from yolo9000.training.trainer import prepare_task

    write_voc_set(tmp_path / "fruit", val=4)
    data = open_data(tmp_path / "fruit", "train")
    rng = np.random.default_rng(0)
    planted = [plant(sample, len(data.classes), 1.0, rng).sample for sample in data.samples()]
    recipe = fine_tuning(tmp_path / "fruit", (192, 96))
    with join_world("cpu") as world:
        task = prepare_task(recipe, TrainingData(Given.of(data, planted), None), world)
    learnt, wrong, right = (
        [plain(sample) for sample in samples] for samples in (task.samples, planted, data.samples())
    )
    assert learnt == wrong
    assert learnt != right


def plain(sample: Sample) -> list[object]:
    assert sample.boxes is not None
    return [sample.name, sample.boxes.boxes_xyxy.tolist(), sample.boxes.labels.tolist()]


@pytest.mark.usefixtures("benchmarks")
def test_clicks_are_interpolated_where_the_goal_is_reached() -> None:
    """From 0.5 to 0.7 the goal of 0.55 is a quarter of the way: 20 + 40 / 4 and 8 + 12 / 4."""
    from annotate import Progress, clicks_to

    curve = [Progress((10, 10), 0.2), Progress((20, 8), 0.5), Progress((60, 20), 0.7), Progress((90, 30), 0.9)]
    assert clicks_to(0.55, curve) == pytest.approx((30, 11))
    assert clicks_to(0.1, curve) == pytest.approx((5, 5))
    assert clicks_to(0.95, curve) == (90, 30)  # never: all of them


@pytest.mark.battery
@pytest.mark.usefixtures("benchmarks")
def test_both_simulations_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import annotate
    import label_errors

    write_voc_set(tmp_path / "fruit", val=4)
    data = str(tmp_path / "fruit")
    settings = ["--size", "192", "96", "--passes", "16"]
    monkeypatch.setattr(sys, "argv", ["x", data, *settings, "--batch", "4", "--seeds", "1"])
    annotate.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ")[:2] for line in lines[-4:]]
    assert rows == [[f"| {order}", boxes] for order in ("random", "review") for boxes in ("drawn", "corrected")]
    monkeypatch.setattr(sys, "argv", ["x", data, *settings, "--folds", "2"])
    label_errors.main()
    assert len(capsys.readouterr().out.splitlines()) == 4 + 4
