"""Work on several items at once: the order, how far ahead it reads, errors, and detection in many images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, get_ident

import numpy as np
import pytest
from PIL import Image
from support.small_models import write_tree_model

from yolo9000 import Detector
from yolo9000.errors import ConfigError, DataError
from yolo9000.inference import detector as detector_module
from yolo9000.inference.pipeline import in_parallel
from yolo9000.io.cores import available_cores
from yolo9000.io.memory import available_memory


def test_results_keep_the_order_of_items_that_are_computed_at_once() -> None:
    """Item 0 ends only after item 1 has: they must run together, and 0 still comes first."""
    second_done, threads = Event(), set()

    def work(item: int) -> int:
        threads.add(get_ident())
        if item == 0:
            assert second_done.wait(60)
        if item == 1:
            second_done.set()
        return 10 * item

    assert list(in_parallel(iter(range(5)), work, 2)) == [0, 10, 20, 30, 40]
    assert get_ident() not in threads


def test_items_are_read_as_results_are_asked_for() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            read.append(item)
            yield item

    results = in_parallel(items(), lambda item: item, 3)
    assert read == []
    assert next(results) == 0
    assert read == [0, 1, 2, 3]  # one more than there are workers
    assert next(results) == 1
    assert read == [0, 1, 2, 3, 4]
    results.close()


def test_errors_come_where_their_item_is() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise DataError("no fourth")

    got = []
    with pytest.raises(DataError, match="no fourth"):
        got += [got.append(result) for result in in_parallel(items(), lambda item: item, 2)]
    assert got == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        got += [got.append(result) for result in in_parallel(iter((5, 0, 1)), lambda item: 10 // item, 2)]
    assert got == [1, 2, 3, 2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for index in range(7):
        pixels = rng.integers(0, 256, (40 + index, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    return tmp_path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
@pytest.mark.parametrize("how", [{"workers": 2}, {"workers": 3, "batch": 2}, {}])
def test_detections_do_not_depend_on_workers(
    engine: str,
    how: dict[str, int],
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(engine)
    monkeypatch.setattr(detector_module, "FEW_IMAGES", 3)
    monkeypatch.setattr(detector_module, "available_cores", lambda: 2)
    model = write_tree_model(tmp_path_factory.mktemp("model"))
    detector = Detector.load(model, engine=engine, conf_threshold=0.1, threads=2)
    one_by_one = list(detector.predict(folder, workers=1))
    together = list(detector.predict(folder, **how))
    assert [prediction.image.name for prediction in together] == [str(folder / f"{i}.png") for i in range(7)]
    assert sum(len(prediction) for prediction in one_by_one) > 7
    for ours, theirs in zip(one_by_one, together, strict=True):
        np.testing.assert_array_equal(ours.detections.labels, theirs.detections.labels)
        np.testing.assert_allclose(ours.detections.scores, theirs.detections.scores, atol=1e-5)
        assert theirs.seconds > 0


def test_workers_below_one_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    detector = Detector.load(write_tree_model(tmp_path_factory.mktemp("model")), engine="onnxruntime")
    with pytest.raises(ConfigError, match="workers: must be at least 1, got 0"):
        detector.predict(folder, workers=0)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),  # half a core
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "40000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "100000000 100000\n"}, None),  # a thousand cores: as many as there are
        ({}, None),
    ],
)
def test_cores_are_limited_by_the_container(files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cores(tmp_path) == (limit or available_cores(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({"meminfo": "MemTotal:  24000 kB\nMemAvailable:   5000 kB\n"}, 5_120_000),
        ({"meminfo": "MemAvailable: 5000 kB\n", "memory.max": "max\n", "memory.current": "100\n"}, 5_120_000),
        ({"meminfo": "MemAvailable: 5000 kB\n", "memory.max": "4000000\n", "memory.current": "100\n"}, 3_999_900),
        ({"memory/memory.limit_in_bytes": "900\n", "memory/memory.usage_in_bytes": "1000\n"}, 0),
        ({"meminfo": "MemTotal: 24000 kB\n"}, None),  # an old kernel
        ({}, None),
    ],
)
def test_memory_is_limited_by_the_container(files: dict[str, str], available: int | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_memory(tmp_path / "meminfo", tmp_path) == available
