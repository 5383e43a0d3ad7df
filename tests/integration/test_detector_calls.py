"""A detector called as Python programs call one: images and lists, other threads, copies, prompts and notebooks."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_models import loaded, random_model, small_architecture, write_flat

from yolo9000.errors import ConfigError, DataError
from yolo9000.inference.detector import Detector
from yolo9000.inference.engines import choose_engine, start_engine
from yolo9000.inference.prediction import Prediction

ENGINES = ("openvino", "onnxruntime", "torch")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector.load(write_flat(tmp_path_factory.mktemp("model")), engine="onnxruntime", threads=1)


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (30, 90), (64, 50))]


def test_one_image_gives_one_prediction_and_several_a_list(detector: Detector, images: list[np.ndarray]) -> None:
    alone = [detector.detect([image])[0] for image in images]
    assert any(len(detections) for detections in alone)

    def generated() -> Iterator[np.ndarray]:
        yield from images

    for together in (detector(images), detector(generated()), detector(tuple(images), batch=2)):
        assert [one.detections.names for one in together] == [detections.names for detections in alone]
    assert detector(images[0]).detections.to_dict() == alone[0].to_dict()
    assert detector([]) == []
    assert len(detector(np.stack([images[0]] * 2))) == 2


def test_settings_of_a_call_hold_for_that_call(detector: Detector, images: list[np.ndarray]) -> None:
    counts = [len(detector(images[0], conf_threshold=threshold)) for threshold in (0.05, 0.9)]
    assert counts[0] > counts[1]
    assert detector.settings.conf_threshold == 0.25
    with pytest.raises(ConfigError, match="did you mean 'conf_threshold'"):
        detector(images[0], conf=0.5)
    with pytest.raises(ConfigError, match="must be at least 1, got 0"):
        detector(images, batch=0)
    with pytest.raises(ConfigError, match="batch: must be an integer, got '2'"):
        detector(images, batch="2")
    with pytest.raises(ConfigError, match="on_error: must be a function to call with each error, or None, got 'skip'"):
        detector.predict(images, on_error="skip")


def test_bgr_images_are_those_of_opencv(detector: Detector, images: list[np.ndarray]) -> None:
    expected = detector(images[0]).detections.to_dict()
    assert detector(images[0][:, :, ::-1], color="bgr").detections.to_dict() == expected


@pytest.mark.parametrize("image", [np.zeros((4, 6, 3)), np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8)])
def test_detect_refuses_what_it_would_misread(detector: Detector, image: np.ndarray) -> None:
    with pytest.raises(DataError, match="an image must be a uint8 array"):
        detector.detect([image])
    with pytest.raises(DataError, match="an image must be a uint8 array"):
        detector.best_scores([image], np.array([0]))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda detector: pickle.loads(pickle.dumps(detector))])  # noqa: S301
def test_a_copy_is_loaded_again_with_all_that_was_set(
    detector: Detector, images: list[np.ndarray], copied: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = detector.with_settings(conf_threshold=0.1)
    other = copied(changed)  # type: ignore[operator]
    assert other.engine is not changed.engine
    assert (other.settings, other.network_wh) == (changed.settings, changed.network_wh)
    assert other(images[0]).detections.to_dict() == changed(images[0]).detections.to_dict()


def test_a_detector_without_a_file_says_so(detector: Detector) -> None:
    made = Detector(detector.model, detector.engine)
    with pytest.raises(
        TypeError, match=r"only a detector that Detector\.load made from a file can be pickled or copied"
    ):
        pickle.dumps(made)


def test_prompts_and_notebooks_show_it(detector: Detector, images: list[np.ndarray], tmp_path: Path) -> None:
    file = tmp_path / "<b>.png"
    Image.fromarray(images[0]).save(file)
    prediction = detector(file, conf_threshold=0.05)
    assert repr(detector) == "Detector(5 labels, 72x48, engine onnxruntime)"
    assert re.fullmatch(r"Detections\(\d+ in 60x40: [\w ,.]+\)", repr(prediction.detections))
    assert len(repr(prediction)) < 300
    page = prediction._repr_html_()
    assert 'src="data:image/jpeg;base64,' in page
    assert "<b>.png" not in page
    assert "&lt;b&gt;.png" in page
    assert page.count("<tr>") == 1 + min(len(prediction), 20)
    assert prediction.to_dict()["source"] == str(file)


def test_crops_are_the_parts_in_the_boxes(detector: Detector, images: list[np.ndarray]) -> None:
    prediction = detector(images[0], conf_threshold=0.05)
    crops = prediction.crop()
    assert len(crops) == len(prediction)
    for crop, (left, top, right, bottom) in zip(crops, prediction.detections.boxes_xyxy, strict=True):
        part = images[0][int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
        np.testing.assert_array_equal(crop, part)
    assert all(crop.shape >= small.shape for crop, small in zip(prediction.crop(margin=0.5), crops, strict=True))


@pytest.mark.parametrize("name", ENGINES)
def test_eight_threads_get_what_one_gets(name: str) -> None:
    pytest.importorskip(name)
    engine = start_engine(choose_engine(name), loaded(random_model(small_architecture(5))), threads=1)
    rng = np.random.default_rng(2)
    inputs = [rng.random((1 + index % 2, 3, 48, 72), dtype=np.float32) for index in range(16)]
    alone = [engine.run(images) for images in inputs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(engine.run, inputs * 10))
    for index, outputs in enumerate(together):
        for output, expected in zip(outputs, alone[index % 16], strict=True):
            np.testing.assert_array_equal(output, expected)


def test_asyncio_gets_what_one_gets(detector: Detector, images: list[np.ndarray]) -> None:
    async def all_at_once() -> list[Prediction]:
        return list(await asyncio.gather(*(asyncio.to_thread(detector, image) for image in images * 4)))

    expected = [detector(image).detections.to_dict() for image in images] * 4
    assert [prediction.detections.to_dict() for prediction in asyncio.run(all_at_once())] == expected


FORKED = """
import multiprocessing, sys
import numpy as np
from yolo9000 import Detector
detector = Detector.load(sys.argv[1], engine=sys.argv[2], threads=1, conf_threshold=0.05)
image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
expected = detector(image).detections.to_json()
def answer(_):
    return detector(image).detections.to_json()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(answer, range(4), chunksize=1) == [expected] * 4
print(len(expected))
"""


@pytest.mark.posix
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_after_a_fork_the_child_gets_what_the_parent_gets(tmp_path: Path, engine: str) -> None:
    model = write_flat(tmp_path)
    done = subprocess.run([sys.executable, "-c", FORKED, model, engine], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_names_of_other_packages_lead_to_ours(detector: Detector, images: list[np.ndarray]) -> None:
    """Attributes that exist are not touched, and `hasattr` is right."""
    prediction = detector(images[0])
    for value, name in ((detector, "nothing"), (prediction, "nothing"), (prediction.detections, "xyxy")):
        assert not hasattr(value, name)
    with pytest.raises(AttributeError, match=r"^Detections has no attribute 'xyxy': use boxes_xyxy$"):
        _ = prediction.detections.xyxy
    with pytest.raises(AttributeError, match=r"^Detector has no attribute 'nothing'$"):
        _ = detector.nothing
    with pytest.raises(ImportError, match=r"yolo9000 has no YOLO: use Detector\.load"):
        from yolo9000 import YOLO  # noqa: F401


def test_openvino_keeps_the_shapes_that_were_used_last() -> None:
    pytest.importorskip("openvino")
    from yolo9000.inference.engines.openvino import MAX_SHAPES, OpenVinoEngine

    engine = OpenVinoEngine(loaded(random_model(small_architecture(5))), "cpu", "float32", 1)
    for batch in (*range(1, MAX_SHAPES + 3), MAX_SHAPES + 1):
        assert engine.run(np.zeros((batch, 3, 48, 72), np.float32))[0].shape[0] == batch
        assert len(engine._compiled) <= MAX_SHAPES
    assert next(reversed(engine._compiled))[0] == MAX_SHAPES + 1


@pytest.mark.posix
@pytest.mark.parametrize(
    "code",
    [
        "import yolo9000.inference.engines.onnxruntime",
        "from yolo9000.evaluation.figures import Figure; Figure().savefig('a.png')",
    ],
)
def test_nothing_is_written_into_the_home_folder(tmp_path: Path, code: str) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    kept = ("ORT_DISABLE_TELEMETRY", "MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CI")
    environment = {key: value for key, value in os.environ.items() if key not in kept}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=work, check=True, capture_output=True)
    assert list(home.iterdir()) == []
