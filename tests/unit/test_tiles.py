"""Large images by tiles: the tiles, the seams, and what is read by windows."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.small_tree import ANIMAL, CAT, CUP, DOG, HOUND, NAMES, TERRIER, THING, TREE, answer

from yolo9000.architectures.head import Head
from yolo9000.boxes import iou
from yolo9000.errors import ConfigError, DataError
from yolo9000.inference.detector import Detector
from yolo9000.inference.query import Query
from yolo9000.inference.seams import Piece, join_pieces
from yolo9000.inference.settings import DetectionSettings
from yolo9000.inference.tile_settings import TileSettings
from yolo9000.inference.tiles import detect_by_tiles, predict_by_tiles, tile_starts
from yolo9000.io.windows import ArrayWindows, WindowedImage, open_windowed
from yolo9000.io.writers import ResultWriter
from yolo9000.types import Detections, TreeAnswer

SIZE_WH = (1000, 600)
DOG_ANSWER = answer((ANIMAL, 0.95), (DOG, 0.9))
TERRIER_ANSWER = answer((ANIMAL, 0.95), (DOG, 0.9), (TERRIER, 0.8))
HOUND_ANSWER = answer((ANIMAL, 0.95), (DOG, 0.9), (HOUND, 0.8))
CAT_ANSWER = answer((ANIMAL, 0.95), (CAT, 0.9))
CUP_ANSWER = answer((THING, 0.95), (CUP, 0.9))
ANSWERS = {DOG: DOG_ANSWER, CAT: CAT_ANSWER, CUP: CUP_ANSWER}
COLORS = {DOG: (250, 20, 20), CAT: (20, 250, 20), CUP: (20, 20, 250)}
SMALLEST = 12  # pixels of the input, below which the detector of these tests sees nothing


class ColorDetector(Detector):
    """Finds filled rectangles of three colors in its input, shrunk to 160 x 160: small ones get lost."""

    def __init__(self, *, side: int = 160) -> None:
        self.head = Head(np.ones((1, 2), np.float32), NAMES, "tree", TREE)
        self.settings = DetectionSettings()
        self.query = Query()
        self._side = side

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        height, width = image.shape[:2]
        factor = max(1.0, max(height, width) / self._side)
        rows: list[tuple[list[float], TreeAnswer]] = []
        for label, color in COLORS.items():
            mask = (np.abs(image.astype(int) - color).max(axis=2) < 25).astype(np.uint8)
            seen = (box for box in _blobs(mask) if min(box[2] - box[0], box[3] - box[1]) / factor >= SMALLEST)
            rows += [(box, ANSWERS[label]) for box in seen]
        return detections(*rows, size_wh=(width, height))


def _blobs(mask: np.ndarray) -> list[list[float]]:
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    return [[float(x), float(y), float(x + w), float(y + h)] for x, y, w, h, _ in stats[1:]]


def detections(*rows: tuple[Sequence[float], TreeAnswer], size_wh: tuple[int, int] = SIZE_WH) -> Detections:
    return Detections(
        np.array([box for box, _ in rows], np.float32).reshape(-1, 4),
        np.array([0.8 * one.path[-1].probability for _, one in rows], np.float32),
        np.array([one.path[-1].node for _, one in rows], np.int64),
        tuple(one.path[-1].name for _, one in rows),
        size_wh,
        tuple(one for _, one in rows),
    )


def piece(region: tuple[float, float, float, float], *rows: tuple[Sequence[float], TreeAnswer]) -> Piece:
    return Piece(np.array(region), detections(*rows), 1.0)


LEFT, RIGHT = (0.0, 0.0, 600.0, 600.0), (500.0, 0.0, 1000.0, 600.0)


def joined(left: Sequence[tuple[Sequence[float], TreeAnswer]], right: Sequence[tuple[Sequence[float], TreeAnswer]]):
    """What two tiles that share x = 500 to 600 give together."""
    return join_pieces([piece(LEFT, *left), piece(RIGHT, *right)], SIZE_WH, ColorDetector())


@given(st.integers(1, 5000), st.integers(32, 900), st.floats(0.05, 0.5))
def test_tiles_cover_the_image_and_overlap(length: int, side: int, overlap: float) -> None:
    starts = tile_starts(length, side, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(length - side, 0)
    gaps = np.diff(starts)
    assert (gaps > 0).all()
    assert (gaps <= math.ceil(side * (1 - overlap))).all()  # rounded to pixels


def test_an_object_over_a_seam_is_one() -> None:
    one = joined([([450, 100, 598, 200], DOG_ANSWER)], [([502, 98, 700, 201], TERRIER_ANSWER)])
    assert one.names == ("terrier",)  # the dog lies on the terrier's path
    assert one.boxes_xyxy[0, [0, 2]].tolist() == [450, 700]
    assert one.scores[0] == pytest.approx(0.8 * 0.8)


def test_a_terrier_and_a_hound_over_a_seam_are_a_dog() -> None:
    one = joined([([450, 100, 598, 200], TERRIER_ANSWER)], [([502, 100, 660, 200], HOUND_ANSWER)])
    assert one.names == ("dog",)
    assert one.boxes_xyxy.tolist() == [[450, 100, 660, 200]]
    assert one.scores[0] == pytest.approx(0.8 * 0.9)


def test_a_whole_box_gives_the_sides() -> None:
    one = joined([([520, 100, 598, 200], DOG_ANSWER)], [([521, 99, 640, 202], DOG_ANSWER)])
    assert len(one) == 1
    assert one.boxes_xyxy[0, [0, 2]].tolist() in ([520, 640], [521, 640])


def test_the_same_box_in_both_tiles_is_one() -> None:
    assert len(joined([([520, 100, 580, 200], DOG_ANSWER)], [([521, 101, 581, 199], DOG_ANSWER)])) == 1


def test_neighbors_and_other_kinds_stay() -> None:
    both = joined([([450, 100, 540, 200], DOG_ANSWER)], [([545, 100, 640, 200], DOG_ANSWER)])
    assert len(both) == 2
    both = joined([([520, 100, 580, 200], DOG_ANSWER)], [([521, 101, 581, 199], CUP_ANSWER)])
    assert sorted(both.names) == ["cup", "dog"]  # a dog in a cup: neither is cut


def test_a_part_that_is_taken_for_another_kind_belongs_to_the_whole() -> None:
    one = joined([([420, 100, 598, 200], DOG_ANSWER)], [([502, 101, 599, 200], CUP_ANSWER)])
    assert one.names == ("dog",)


def test_an_object_over_three_tiles_is_one() -> None:
    regions = [(0.0, 0.0, 400.0, 600.0), (300.0, 0.0, 700.0, 600.0), (600.0, 0.0, 1000.0, 600.0)]
    boxes = [[200, 50, 400, 150], [300, 50, 700, 150], [600, 50, 800, 150]]
    pieces = [piece(region, (box, DOG_ANSWER)) for region, box in zip(regions, boxes, strict=True)]
    assert join_pieces(pieces, SIZE_WH, ColorDetector()).boxes_xyxy.tolist() == [[200, 50, 800, 150]]


def test_nothing_is_nothing() -> None:
    assert len(joined([], [])) == 0


def scene(
    seed: int, size_wh: tuple[int, int] = (1300, 900), count: int = 40
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image of rectangles that do not touch, most of them small; boxes and labels."""
    rng = np.random.default_rng(seed)
    width, height = size_wh
    image = np.full((height, width, 3), 120, np.uint8)
    boxes: list[np.ndarray] = []
    labels = []
    while len(boxes) < count:
        size = rng.integers(18, 40, 2) if len(boxes) % 5 else rng.integers(0.2 * height, 0.35 * height, 2)
        corner = rng.integers(4, np.array(size_wh) - size - 4)
        box = np.concatenate([corner, corner + size])
        if any((np.minimum(box[2:], o[2:]) - np.maximum(box[:2], o[:2]) > -6).all() for o in boxes):
            if rng.random() < 0.05:
                count -= 1
            continue
        boxes.append(box)
        labels.append(int(rng.choice(list(COLORS))))
        image[box[1] : box[3], box[0] : box[2]] = COLORS[labels[-1]]
    return image, np.array(boxes), np.array(labels)


@pytest.mark.parametrize("seed", range(2))
def test_tiles_find_the_small_objects_and_no_object_twice(seed: int) -> None:
    image, boxes, labels = scene(seed)
    detector = ColorDetector()
    (once,) = detector.detect([image])
    tiled = detect_by_tiles(detector, ArrayWindows(image), TileSettings(tiles=160), batch=7)
    small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) < 50
    matched = [iou(boxes[:, None].astype(float), one.boxes_xyxy[None].astype(float)) > 0.9 for one in (once, tiled)]
    recall_once, recall_tiled = (pairs[small].any(axis=1).mean() for pairs in matched)
    assert recall_tiled >= max(1.5 * recall_once, 0.99)
    assert (matched[1].sum(axis=1) == 1).all()  # every object once, large ones too
    assert len(tiled) == len(boxes)
    assert (tiled.labels == labels[matched[1].argmax(axis=0)]).all()


def test_one_tile_is_plain_detection() -> None:
    image, _, _ = scene(7, (150, 120), 2)
    detector = ColorDetector()
    (plain,) = detector.detect([image])
    tiled = detect_by_tiles(detector, ArrayWindows(image), TileSettings(tiles=160))
    assert (tiled.boxes_xyxy == plain.boxes_xyxy).all()


def write_geotiff(path: Path, pixels: np.ndarray, crs: str = "EPSG:32633") -> None:
    import rasterio

    height, width = pixels.shape[:2]
    options = {"driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8", "crs": crs}
    options |= {"transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_800_000), "tiled": True, "compress": "lzw"}
    options |= {"blockxsize": 128, "blockysize": 128}
    with rasterio.open(path, "w", **options) as file:
        file.write(pixels.transpose(2, 0, 1))


def test_windows_are_the_parts_of_the_file(tmp_path: Path) -> None:
    image, _, _ = scene(1, (500, 300), 12)
    write_geotiff(tmp_path / "a.tif", image)
    Image.fromarray(image).save(tmp_path / "b.png")
    Image.fromarray(image).quantize(16).save(tmp_path / "c.png")
    for name in ("a.tif", "b.png", "c.png"):
        with open_windowed(tmp_path / name, name, 1000) as opened:
            assert opened.windows is not None
            assert opened.windows.size_wh == (500, 300)
            whole = np.asarray(Image.open(tmp_path / name).convert("RGB")) if name == "c.png" else image
            assert (opened.windows.read(40, 100, 333, 77) == whole[100:177, 40:373]).all()
            assert opened.windows.reduced(100).shape == (60, 100, 3)
            assert (opened.pixels == whole).all()
    assert open_windowed(tmp_path / "b.png", "b.png", 200_000) is None  # small enough
    assert open_windowed(tmp_path / "a.tif", "a.tif", 200_000) is not None  # on the earth


def test_gray_and_16_bits(tmp_path: Path) -> None:
    values = np.arange(300 * 200, dtype=np.uint16).reshape(200, 300)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with open_windowed(tmp_path / "a.tif", "a.tif", 100) as opened:
        assert opened.windows is not None
        window = opened.windows.read(10, 20, 30, 40)
    assert (window == np.rint(values[20:60, 10:40, None] / 257)).all()
    Image.fromarray(values.astype(np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match=r"f\.tif: must have integers of 8 or 16 bits, got float32"):
        open_windowed(tmp_path / "f.tif", "f.tif", 100)


def test_images_that_lie_on_their_side_are_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(DataError, match="store it upright"):
        open_windowed(tmp_path / "a.jpg", "a.jpg", 100)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    image, _, _ = scene(1, (500, 300), 12)
    write_geotiff(tmp_path / "a.tif", image)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    errors: list[DataError] = []
    assert list(predict_by_tiles(ColorDetector(), str(tmp_path / "a.tif"), on_error=errors.append)) == []
    assert len(errors) == 1
    assert "\n" not in str(errors[0])
    assert "a.tif: " in str(errors[0])


def test_a_geotiff_is_read_by_windows_and_written_in_longitude_and_latitude(tmp_path: Path) -> None:
    image, boxes, _ = scene(2, (700, 500), 14)
    write_geotiff(tmp_path / "field.tif", image)
    (prediction,) = predict_by_tiles(ColorDetector(), str(tmp_path / "field.tif"), TileSettings(tiles=160), batch=4)
    assert isinstance(prediction.image, WindowedImage)
    assert prediction.detections.size_wh == (700, 500)
    assert len(prediction) == len(boxes)
    assert prediction.draw().shape == (500, 700, 3)
    with ResultWriter(tmp_path / "out", ["geojson"]) as writer:
        writer.write("field.tif", None, prediction.detections, to_lonlat=prediction.image.to_lonlat)
        writer.write("plain.png", None, prediction.detections)
    written = json.loads((tmp_path / "out" / "detections.geojson").read_text())
    assert written["type"] == "FeatureCollection"
    assert len(written["features"]) == len(boxes)
    from rasterio.warp import transform

    feature = written["features"][0]
    left, _, _, bottom = feature["properties"]["box_xyxy"]
    (longitude,), (latitude,) = transform("EPSG:32633", "EPSG:4326", [500_000 + left / 2], [5_800_000 - bottom / 2])
    ring = feature["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] == pytest.approx([longitude, latitude], abs=1e-7)
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring))
    assert area > 0  # counterclockwise, as RFC 7946 wants


def test_detections_are_resized_with_their_image() -> None:
    one = detections(([100, 60, 300, 120], DOG_ANSWER)).resized((500, 200))
    assert one.boxes_xyxy.tolist() == [[50, 20, 150, 40]]
    assert one.size_wh == (500, 200)


def test_wrong_settings_name_the_argument() -> None:
    with pytest.raises(ConfigError, match=r"overlap: must be at most 0\.5, got 0\.7"):
        TileSettings.checked(overlap=0.7)
    with pytest.raises(ConfigError, match="tiles: must be at least 32, got 8"):
        TileSettings.checked(tiles=8)
