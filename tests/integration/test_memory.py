"""Memory does not grow with the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_models import write_flat

GROWTH = 12_000_000  # bytes; a detector that kept its images would grow by 300 x 0.9 MB after the first hundred

SCRIPT = """
import sys
from pathlib import Path
from yolo9000 import Detector

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

model, image, engine, count = sys.argv[1:]
sizes = []
detector = Detector.load(model, engine=engine, conf_threshold=0.3)
for number, prediction in enumerate(detector.predict((image for _ in range(int(count))), batch=2)):
    if number % 50 == 49:
        prediction.draw()
        sizes.append(resident())
print(max(sizes[2:]) - sizes[1])
"""


def growth(tmp_path: Path, engine: str, count: int) -> int:
    image = tmp_path / "image.jpg"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)).save(image)
    arguments = [sys.executable, "-c", SCRIPT, str(write_flat(tmp_path)), str(image), engine, str(count)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=500, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's account of memory")
def test_four_hundred_images(tmp_path: Path) -> None:
    assert growth(tmp_path, "onnxruntime", 400) < GROWTH


@pytest.mark.battery
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's account of memory")
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_ten_thousand_images(tmp_path: Path, engine: str) -> None:
    assert growth(tmp_path, engine, 10_000) < GROWTH


THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from yolo9000 import Detector

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

model, engine, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(0)
images = [rng.integers(0, 256, (60 + 7 * i, 90 + 11 * (i % 5), 3), dtype=np.uint8) for i in range(20)]
detector = Detector.load(model, engine=engine, threads=1, conf_threshold=0.3)
answer = lambda i: detector(images[i % len(images)]).detections.to_json()
alone = [answer(i) for i in range(len(images))]
assert len(set(alone)) == len(images)
sizes, different = [], 0
with ThreadPoolExecutor(16) as pool:
    for number, given in enumerate(pool.map(answer, range(count))):
        different += given != alone[number % len(images)]
        if number % 100 == 99:
            sizes.append(resident())
half = len(sizes) // 2  # every thread has taken what it needs
print(different, max(sizes[half:]) - max(sizes[:half]))
"""


@pytest.mark.battery
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's account of memory")
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_sixteen_threads_get_what_one_gets_of_five_thousand_images(tmp_path: Path, engine: str) -> None:
    arguments = [sys.executable, "-c", THREADS, str(write_flat(tmp_path)), engine, "5000"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    different, grown = map(int, done.stdout.split())
    print(
        f"{engine}: 5,000 images in 16 threads, {different} other answers, {grown / 1e6:.1f} MB more in the second half"
    )
    assert different == 0
    assert grown < GROWTH
