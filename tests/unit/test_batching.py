"""The images of all clients in batches: which ones are run together, and what happens to those that are given up."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

from yolo9000.inference.head_output import DenseClassLogits, HeadOutput
from yolo9000.serve.batching import BatchedOutput, Batcher
from yolo9000.serve.problems import Refused
from yolo9000.serve.uploads import Buffer, Upload, uploads_in


class Network:
    """A network that waits to be let through, and whose output tells which image it was."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.entered = threading.Semaphore(0)
        self.may_run = threading.Semaphore(0)

    def __call__(self, images: np.ndarray) -> HeadOutput:
        self.sizes.append(len(images))
        self.entered.release()
        self.may_run.acquire()
        if images[0, 0, 0, 0] < 0:
            raise RuntimeError("negative")
        boxes = np.zeros((len(images), 1, 5, 1, 2), np.float32)
        boxes[:, 0, 0, 0, 0] = images[:, 0, 0, 0]
        return HeadOutput(boxes, DenseClassLogits(np.zeros((len(images), 1, 1, 1, 2), np.float32)), (2, 1))


def image(value: float) -> np.ndarray:
    return np.full((3, 1, 2), value, np.float32)


def value_of(future: Future[BatchedOutput]) -> float:
    batched = future.result(timeout=30)
    return float(batched.output.boxes[batched.index, 0, 0, 0, 0])


def test_what_waits_is_run_together_in_powers_of_two() -> None:
    network = Network()
    batcher = Batcher(network, max_batch=4, max_wait=0.0)
    first = batcher.submit(image(0))
    network.entered.acquire()  # the first is running alone; meanwhile 7 come: 4, then 2, then 1
    others = [batcher.submit(image(i)) for i in range(1, 8)]
    network.may_run.release(4)
    assert [value_of(future) for future in (first, *others)] == list(range(8))
    assert network.sizes == [1, 4, 2, 1]
    batcher.close(wait=True)


def test_a_batch_waits_for_images_on_the_way() -> None:
    network = Network()
    batcher = Batcher(network, max_batch=4, max_wait=60.0)
    with batcher.expecting(3) as arrived:
        futures = []
        for i in range(2):
            futures.append(batcher.submit(image(i)))
            arrived()
        assert not network.entered.acquire(timeout=0.05)
        arrived()  # the third will not come
        network.may_run.release(2)
        assert [value_of(future) for future in futures] == [0, 1]
    assert network.sizes == [2]
    batcher.close(wait=True)


def test_but_not_longer_than_it_may() -> None:
    network = Network()
    network.may_run.release(2)
    batcher = Batcher(network, max_batch=4, max_wait=0.01)
    with batcher.expecting(1):
        assert value_of(batcher.submit(image(5))) == 5
    batcher.close(wait=True)


def test_what_is_cancelled_is_not_run() -> None:
    network = Network()
    batcher = Batcher(network, max_batch=2, max_wait=0.0)
    first = batcher.submit(image(0))
    network.entered.acquire()
    given_up, kept = batcher.submit(image(1)), batcher.submit(image(2))
    assert given_up.cancel()
    network.may_run.release(3)
    assert (value_of(first), value_of(kept)) == (0, 2)
    assert network.sizes == [1, 1]
    batcher.close(wait=True)


def test_an_error_belongs_to_its_batch() -> None:
    network = Network()
    network.may_run.release(5)
    batcher = Batcher(network, max_batch=1, max_wait=0.0)
    wrong, right = batcher.submit(image(-1)), batcher.submit(image(3))
    with pytest.raises(RuntimeError, match="negative"):
        wrong.result(timeout=30)
    assert value_of(right) == 3
    batcher.close(wait=True)


def test_closing_waits_for_what_is_queued_or_expected() -> None:
    network = Network()
    seen: list[tuple[int, float]] = []
    batcher = Batcher(network, max_batch=4, max_wait=0.0, observe=lambda size, seconds: seen.append((size, seconds)))
    with batcher.expecting(1) as arrived:
        batcher.close()
        time.sleep(0.05)  # the thread would have ended by now
        future = batcher.submit(image(7))
        arrived()
    network.may_run.release()
    assert value_of(future) == 7
    batcher.close(wait=True)
    assert [size for size, _ in seen] == [1]


FORM = "multipart/form-data; boundary=XX"


def test_parts_of_a_form() -> None:
    body = (
        b'--XX\r\nContent-Disposition: form-data; name="a"; filename="\xc3\xbc \\"1\\".png"\r\n'
        b"Content-Type: image/png\r\n\r\n\r\n--X\x00\r\n--XY\r\n--XX\r\n"
        b'content-disposition: form-data; name="b"\r\n\r\nsecond\r\n--XX--\r\nepilogue'
    )
    assert uploads_in(body, FORM, 2) == [Upload('ü "1".png', b"\r\n--X\x00\r\n--XY"), Upload(None, b"second")]
    assert uploads_in(body, "image/png", 1) == [Upload(None, body)]
    assert uploads_in(body, "", 1) == [Upload(None, body)]
    with pytest.raises(Refused, match="at most 1 images"):
        uploads_in(body, FORM, 1)


@pytest.mark.parametrize("end", range(1, 60, 7))
def test_a_form_that_ends_early_is_refused(end: int) -> None:
    body = b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nimage\r\n--XX--'
    assert uploads_in(body, FORM, 1) == [Upload(None, b"image")]
    with pytest.raises(Refused) as refused:
        uploads_in(body[:-end], FORM, 1)
    assert refused.value.status == 400


def test_a_buffer_counts_what_is_held() -> None:
    buffer = Buffer(10)
    with buffer.holding() as first, buffer.holding() as second:
        first.add(4)
        second.add(5)
        with pytest.raises(Refused) as refused:
            first.add(2)
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        first.add(1)
    with buffer.holding() as third:
        third.add(10)
