"""yolo9000 track: what it writes, on clips of a detector whose answers are known."""

from __future__ import annotations

import csv
import io
import json
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.clips import EXACT, SIZE_WH, TREE, clip
from support.resized import motion_jpeg
from support.small_models import write_tree_model

from yolo9000.architectures.head import Head
from yolo9000.cli.app import run
from yolo9000.errors import EXIT_USAGE, ConfigError
from yolo9000.inference.detector import Detector
from yolo9000.inference.query import Query
from yolo9000.inference.settings import DetectionSettings
from yolo9000.io.live_view import LiveView
from yolo9000.tracking.output import Parts, TrackWriter
from yolo9000.tracking.run import track
from yolo9000.types import Detections

FRAMES = 26


class KnownDetector(Detector):
    """A detector that answers with the clip's own detections, frame after frame."""

    def __init__(self, *seeds: int) -> None:
        self.head = Head(np.ones((1, 2), np.float32), TREE.names, "tree", TREE)
        self.settings = DetectionSettings(conf_threshold=0.1)
        self.query = Query()
        self._answers = (
            frame.detections for seed in seeds for frame in clip(seed, frames=FRAMES, objects=3, bars=0, noise=EXACT)
        )

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        return [next(self._answers) for _ in images]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, SIZE_WH)
    for frame in clip(5, frames=FRAMES, objects=3, bars=0, noise=EXACT):
        writer.write(np.ascontiguousarray(frame.pixels[:, :, ::-1]))
    writer.release()
    return path


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "load", lambda *_, **__: KnownDetector(5))


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    path = tmp_path / "resized.avi"
    path.write_bytes(motion_jpeg([(96, 64, 60), (96, 64, 60), (160, 64, 120)]))
    frames = [frame.image for frame in track(KnownDetector(5), path)]
    assert [image.size_wh for image in frames] == [(96, 64)] * 3
    assert [round(float(image.pixels.mean()), -1) for image in frames] == [60, 60, 120]


@pytest.mark.usefixtures("known")
def test_everything_is_written_and_agrees(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    (tmp_path / "zones.yaml").write_text(f"all: [[-9, -9], [{SIZE_WH[0] + 9}, -9], [400, 400], [-9, 400]]\n")
    words = [*("track", str(video), "--out", str(out), "--line", "mid=192,0,192,224", "--heat-map")]
    words += ["--zone", str(tmp_path / "zones.yaml"), "-f", "jsonl", "-f", "csv", "-f", "mot"]
    assert run(words) == 0
    printed = capsys.readouterr().out.splitlines()
    records = [json.loads(line) for line in (out / "tracks.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == list(range(FRAMES))
    assert [record["timestamp"] for record in records] == pytest.approx([frame / 20 for frame in range(FRAMES)])
    objects = [(record["frame"], one) for record in records for one in record["detections"]]
    assert len(objects) > FRAMES
    with (out / "tracks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    mot = np.loadtxt(out / "mot" / "walk.txt", delimiter=",")
    assert len(rows) == len(mot) == len(objects)
    for (frame, one), row, line in zip(objects, rows, mot, strict=True):
        left, top, right, bottom = one["box_xyxy"]
        assert (int(row["frame"]), int(row["id"]), row["name"]) == (frame, one["id"], one["name"])
        assert line[:2].tolist() == [frame + 1, one["id"]]
        assert line[2:6] == pytest.approx([left, top, right - left, bottom - top], abs=0.01)
        assert row["path"].split(" > ")[-1] == one["name"] == one["path"][-1]["name"]
    counts = json.loads((out / "counts.json").read_text())[str(video)]
    ids = {one["id"] for _, one in objects}
    assert sum(row["count"] for row in counts["objects"]["all"] if len(row["path"]) == 1) == len(ids)
    assert sum(row["count"] for row in counts["all"]["entered"] if len(row["path"]) == 1) == len(ids)
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    crossed = [event for event in events if event["where"] == "mid"]
    assert len(crossed) == sum(
        row["count"] for what in ("in", "out") for row in counts["mid"][what] if len(row["path"]) == 1
    )
    assert {event["id"] for event in events if event["what"] == "enter"} == ids
    capture = cv2.VideoCapture(str(out / "walk.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    with Image.open(out / "heat-map-walk.jpg") as heat_map:
        assert heat_map.size == SIZE_WH
    assert len([line for line in printed if "frame" in line]) == FRAMES
    assert any(line.strip().startswith("mid in:") for line in printed)


@pytest.mark.usefixtures("known")
def test_a_long_run_is_cut_into_parts_and_keeps_the_latest(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # 26 frames at 20 per second; parts of 0.6 s begin at frames 0, 12, 24
    assert run(["track", str(video), "-o", str(out), "-q", "--part-minutes", "0.01", "--keep-parts", "2"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["000001", "000002", "counts.json"]
    lengths = [len((out / part / "tracks.jsonl").read_text().splitlines()) for part in ("000001", "000002")]
    assert lengths == [12, 2]
    assert cv2.VideoCapture(str(out / "000001" / "walk.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 12


@pytest.mark.usefixtures("known")
def test_a_folder_of_images_is_one_video(tmp_path: Path) -> None:
    folder = tmp_path / "img1"
    folder.mkdir()
    for i, frame in enumerate(clip(5, frames=6, objects=3, bars=0, noise=EXACT)):
        Image.fromarray(frame.pixels).save(folder / f"{i + 1:06}.png")
    out = tmp_path / "out"
    assert run(["track", str(folder), "-o", str(out), "--fps", "10", "-f", "mot", "-q"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["counts.json", "img1.mp4", "mot"]
    mot = np.loadtxt(out / "mot" / "img1.txt", delimiter=",")
    assert mot[:, 0].max() == 6
    capture = cv2.VideoCapture(str(out / "img1.mp4"))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (6, 10)


def test_each_video_has_its_own_ids(video: Path) -> None:
    copy = video.with_name("again.avi")
    copy.write_bytes(video.read_bytes())
    frames = list(track(KnownDetector(5, 5), [str(video), str(copy)]))
    assert [frame.ids for frame in frames[:FRAMES]] == [frame.ids for frame in frames[FRAMES:]]
    assert {one.id for one in frames[FRAMES].ended} == {i for frame in frames[:FRAMES] for i in frame.ids}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--line", "1,2,3"], "--line: must be x1,y1,x2,y2"),
        (["--keep-parts", "2"], "--keep-parts: must be at least 1, and goes with --part-minutes"),
        (["--part-minutes", "0"], "--part-minutes: must be more than 0, got 0.0"),
        (["--format", "mott"], "--format: must be one of jsonl, csv, mot, got 'mott' (did you mean 'mot'?)"),
        (["--start-score", "2"], "--start-score: must be at most 1, got 2.0"),
        (["--fps", "0"], "--fps: must be more than 0, got 0.0"),
    ],
)
@pytest.mark.usefixtures("known")
def test_wrong_options_are_one_line(
    words: list[str], message: str, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["track", str(video), "-o", str(tmp_path / "out"), *words]) == EXIT_USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_real_detector_tracks(video: Path, tmp_path: Path) -> None:
    cfg = write_tree_model(tmp_path)
    out = tmp_path / "out"
    assert (
        run(["track", str(video), "-m", str(cfg), "-o", str(out), "--every", "8", "--max-detections", "4", "-q"]) == 0
    )
    frames = [json.loads(line)["frame"] for line in (out / "tracks.jsonl").read_text().splitlines()]
    assert frames == [0, 8, 16, 24]


def test_the_live_view_streams_the_latest_image() -> None:
    image = np.full((30, 40, 3), (200, 10, 10), np.uint8)
    with LiveView() as view:
        assert b"/stream" in urllib.request.urlopen(view.url).read()  # noqa: S310
        view.show(image)
        with urllib.request.urlopen(f"{view.url}stream") as stream:  # noqa: S310
            head = stream.readline() + stream.readline() + (length := stream.readline())
            stream.readline()
            jpeg = stream.read(int(length.split(b":")[1]))
        assert b"image/jpeg" in head
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{view.url}etc/passwd")  # noqa: S310
    shown = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert np.abs(shown.astype(int) - image).max() < 12


@pytest.mark.usefixtures("known")
def test_the_live_view_is_opened(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    shown: list[np.ndarray] = []
    monkeypatch.setattr(LiveView, "show", lambda _, image: shown.append(image))
    assert run(["track", str(video), "-o", str(tmp_path / "out"), "--show", "--no-save", "-q"]) == 0
    assert opened[0].startswith("http://127.0.0.1:")
    assert len(shown) == FRAMES


def test_parts_are_checked() -> None:
    with pytest.raises(ConfigError, match="part_minutes"):
        Parts(-1.0)
    with pytest.raises(ConfigError, match="formats: must be one of"):
        TrackWriter(Path(), ["xml"], ())
