"""Curves and the report of a run: they show the log, and manage with little of it."""

from __future__ import annotations

import html
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from yolo9000.cli.app import run
from yolo9000.errors import ConfigError, TrainingError
from yolo9000.training.curves import POINTS, Best, best_scores, plot_run, plot_scores
from yolo9000.training.logging import RunFolder
from yolo9000.training.report import write_report

FACTS = {
    "recipe": {"task": "detect", "data": "my fruit", "batch": 8, "optimizer": {"weight_decay": 0.0005}},
    "threads": 2,
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """All figures that are drawn."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keeping(self: Figure, *arguments: Any, **settings: Any) -> None:
        figures.append(self)
        save(self, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", keeping)
    return figures


def make_run(path: Path, maps: list[float], steps: int = 4, slower: float = 1.0) -> RunFolder:
    """A run that was scored after every epoch of a given number of steps, of 8 images in half a second each."""
    folder = RunFolder(path)
    folder.start(FACTS | {"data": "00ff"})
    for step in range(1, steps * max(1, len(maps)) + 1):
        epoch = step / steps
        times = {"epoch": epoch, "seconds": slower * step / 2}
        sizes = {"images": 8, "width": 96, "height": 64}
        losses = {"losses": {"total": 8.0 / step, "classes": 2.0 / step}, "grad_norm": 1000.0}
        folder.log_step(step, times | {"lr": 0.01} | losses | sizes)
        if step % steps == 0 and maps:
            value = maps[step // steps - 1]
            folder.log_metrics(step, epoch, times["seconds"], {"map50": value, "map75": value / 2})
    return folder


def lines_of(axes: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.lines}


def size_of(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.size


def test_a_run_is_drawn_as_losses_scores_rate_and_speed(tmp_path: Path, drawn: list[Figure]) -> None:
    png = plot_run(make_run(tmp_path / "run", [0.2, 0.6, 0.5]))
    assert min(size_of(png)) > 600
    losses, scores, rate, speed = drawn[0].axes
    assert lines_of(losses).keys() == {"total", "classes"}
    np.testing.assert_allclose(lines_of(losses)["total"], [(step / 4, 8 / step) for step in range(1, 13)])
    np.testing.assert_allclose(lines_of(scores)["map50"], [(1, 0.2), (2, 0.6), (3, 0.5)])
    assert lines_of(scores).keys() == {"map50"}
    np.testing.assert_allclose(rate.lines[0].get_ydata(), 0.01)
    np.testing.assert_allclose(speed.lines[0].get_ydata(), 16)  # 8 images in half a second


def test_long_curves_are_thinned_to_means(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_run(make_run(tmp_path / "run", [0.2, 0.6], steps=100))
    total = lines_of(drawn[0].axes[0])["total"]
    assert len(total) == POINTS
    # 200 steps, so the first point stands for steps 1 to 4: epoch (1 + 2 + 3 + 4) / 4 / 100, loss the mean of 8 / step
    np.testing.assert_allclose(total[0], [0.025, 8 * (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4])
    np.testing.assert_allclose(drawn[0].axes[3].lines[0].get_ydata(), 16)


def test_speed_counts_time_not_steps(tmp_path: Path, drawn: list[Figure]) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(FACTS | {"data": ""})
    seconds = 0.0
    for step in range(1, 2 * POINTS + 1):  # two steps make a point: one in 1 s, one in 3 s
        seconds += 1 if step % 2 else 3
        folder.log_step(step, {"epoch": step, "seconds": seconds, "lr": 0.1, "losses": {"total": 1.0}, "images": 8})
    plot_run(folder)
    np.testing.assert_allclose(drawn[0].axes[3].lines[0].get_ydata(), 4)  # 16 in 4 s; not the mean of 8 and 8 / 3


def test_a_run_without_scores_or_with_unknown_ones_is_drawn(tmp_path: Path) -> None:
    assert size_of(plot_run(make_run(tmp_path / "a", [])))
    assert size_of(plot_run(make_run(tmp_path / "b", [math.nan])))
    assert size_of(plot_run(make_run(tmp_path / "c", [0.0], steps=1)))


def test_a_loss_that_is_null_leaves_a_gap(tmp_path: Path, drawn: list[Figure]) -> None:
    folder = make_run(tmp_path / "run", [])
    losses = {"total": math.inf, "classes": 1.0}
    folder.log_step(5, {"epoch": 1.25, "seconds": 9, "lr": 0.1, "losses": losses, "images": 8})
    plot_run(folder)
    assert np.isnan(lines_of(drawn[0].axes[0])["total"][-1, 1])


def test_a_run_without_a_step_cannot_be_drawn(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(FACTS | {"data": ""})
    with pytest.raises(TrainingError, match="has no steps to draw yet"):
        plot_run(folder)


def test_runs_are_compared_by_epoch_or_minutes(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = {
        "from a classifier": make_run(tmp_path / "a", [0.4, 0.75, 0.7]),
        "from scratch": make_run(tmp_path / "b", [math.nan, 0.25], slower=60.0),
    }
    plot_scores(runs, "map50")
    plot_scores(runs, "map50", "minutes")
    by_epoch, by_minutes = (lines_of(figure.axes[0]) for figure in drawn)
    assert set(by_epoch) == {"from a classifier  0.750", "from scratch  0.250"}
    np.testing.assert_allclose(by_epoch["from a classifier  0.750"], [(1, 0.4), (2, 0.75), (3, 0.7)])
    # An epoch is 4 steps of half a second, 60 times as slow: 2 minutes.
    np.testing.assert_allclose(by_minutes["from scratch  0.250"], [(2, math.nan), (4, 0.25)])


def test_the_best_of_each_run_is_printed_with_its_time(tmp_path: Path) -> None:
    runs = {
        "a": make_run(tmp_path / "a", [0.4, 0.75, math.nan], slower=60.0),
        "b": make_run(tmp_path / "b", [math.nan]),
    }
    best = best_scores(runs, "map50")
    assert best["a"] == Best(0.75, epoch=2.0, minutes=4.0)  # two epochs of 4 steps of 30 seconds
    assert math.isnan(best["b"].value)


def test_the_command_draws_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(make_run(tmp_path / name, [0.4, 0.75, 0.7]).path) for name in ("first", "second")]
    out = tmp_path / "both.png"
    assert run(["curves", *folders, "--against", "minutes", "--out", str(out)]) == 0
    assert size_of(out.read_bytes())
    printed = capsys.readouterr().out.splitlines()
    assert [line.split() for line in printed[:2]] == [
        [name, "map50", "0.7500", "after", "2", "epochs,", "0.1", "minutes"] for name in ("first", "second")
    ]
    assert run(["curves", folders[0], folders[0], "--out", str(out)]) == 2
    assert "must have different names" in capsys.readouterr().err


@pytest.mark.parametrize(("maps", "there"), [([0.5], "map50, map75"), ([], "none")])
def test_a_score_that_a_run_does_not_have_is_refused(tmp_path: Path, maps: list[float], there: str) -> None:
    with pytest.raises(ConfigError, match=f"has no metric 'top1'; it has {there}$"):
        plot_scores({"a": make_run(tmp_path / "a", maps)}, "top1")


def report_of(folder: RunFolder) -> tuple[str, list[list[str]]]:
    """The report's text, and the cells of its tables' rows."""
    write_report(folder, "map50")
    text = (folder.path / "report.html").read_text()
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return text, [[html.unescape(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows]


def test_the_report_tells_the_best_scores_and_the_latest(tmp_path: Path) -> None:
    text, rows = report_of(make_run(tmp_path / "run", [0.2, 0.6, math.nan, 0.5]))
    assert ["metric", "best, after 2 epochs", "latest, after 4 epochs"] in rows
    assert ["map50", "0.60", "0.50"] in rows
    assert ["map75", "0.30", "0.25"] in rows
    assert ["12", "3.0", "0.1", "none"] in rows  # 12 steps of half a second
    assert "<h1>Training: run</h1>" in text


def test_of_equal_scores_the_latest_weights_are_the_best(tmp_path: Path) -> None:
    _, rows = report_of(make_run(tmp_path / "run", [0.0, 0.0, math.nan]))
    assert rows[0][1] == "best, after 2 epochs"


def test_the_report_holds_images_settings_and_commands(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a run", [0.2])
    for name in ("batch-000001", "batch-000002", "validation-000004", "validation-000008"):
        Image.new("RGB", (30, 20)).save(folder.images / f"{name}.jpg")
    text, rows = report_of(folder)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert captions == ["against epochs", "validation-000008", "batch-000001", "batch-000002"]
    assert text.count("data:image/jpeg;base64,") == 3
    assert ["recipe.optimizer.weight_decay", "0.0005"] in rows
    assert not re.search(r"(src|href)=.https?:", text)
    assert size_of((folder.path / "curves.png").read_bytes())


def test_a_run_without_scores_has_a_report(tmp_path: Path) -> None:
    text, _ = report_of(make_run(tmp_path / "run", []))
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == ["Course", "Settings"]
