"""Load on a service: what it answers to many clients at once, a part of whose requests is junk, and how fast it is.

The service runs in a process of its own, on this machine. Junk is truncated images, images that say they are huge,
other files, bodies that are too large, clients that send slowly, and clients that go away. Every answer must be 2xx,
4xx or 503, and the detections in an image must be those that the image gets alone.

    python benchmarks/serve.py FOLDER                                   # of images
    python benchmarks/serve.py FOLDER --clients 1 8 32 --requests 5000 20000 25000
    python benchmarks/serve.py FOLDER --requests 0 --rounds 7           # only the speed relative to `predict`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo9000 import Detector
from yolo9000.io.images import IMAGE_SUFFIXES

PATH = "/v1/detect"
TOLERANCE = 1e-3  # of scores; of boxes ten times that, in pixels
ALLOWED = {*range(200, 300), *range(400, 500), 503}
WARM = 0.1  # fraction of the requests after which memory must not grow
MANY = 5000  # requests after which it must not in any case


@dataclass
class Answer:
    """A response: its status, 0 where the client went away, and its body."""

    status: int
    body: bytes = b""
    keeps_alive: bool = True


class Client:
    """One connection, opened again when it is closed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, *, chunk: int | None = None, pause: float = 0.0, declared: int = 0) -> Answer:
        """Send a body, in chunks with pauses if asked to; a longer one may be declared than is sent."""
        reader, writer = await self._open()
        writer.write(self._head(declared or len(body)))
        for start in range(0, len(body), chunk or max(len(body), 1)):
            writer.write(body[start : start + (chunk or len(body))])
            if pause:
                await writer.drain()
                await asyncio.sleep(pause)
        answer = await self._read(reader)
        if not answer.keeps_alive or declared:
            self.close()
        return answer

    async def leave(self, body: bytes, read_head: bool) -> Answer:
        """Send a body, or half of it, and go away."""
        _, writer = await self._open()
        writer.write(self._head(len(body)) + (body if read_head else body[: len(body) // 2]))
        await writer.drain()
        await asyncio.sleep(0.01)
        self.close()
        return Answer(0)

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        return self._streams

    def _head(self, length: int) -> bytes:
        return f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = re.search(r"\r\ncontent-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        return Answer(int(head.split()[1]), body, "\r\nconnection: close" not in head)


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 10^10 pixels."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(64)))]
    chunks = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


OTHER_FILES = (b'{"url": "http://127.0.0.1/a.jpg"}', b"/etc/passwd", b"%PDF-1.7 ...", b"PK\x03\x04 ...", b"")
JUNK: dict[str, Callable[[Client, bytes, random.Random], Any]] = {
    "truncated": lambda client, image, dice: client.post(image[: dice.randrange(8, max(9, len(image) // 2))]),
    "bomb": lambda client, image, dice: client.post(bomb()),
    "other file": lambda client, image, dice: client.post(dice.choice(OTHER_FILES)),
    "too large": lambda client, image, dice: client.post(image[:1000], declared=1 << 30),
    "slow": lambda client, image, dice: client.post(image, chunk=len(image) // 20 + 1, pause=0.02),
    "gone": lambda client, image, dice: client.leave(image, dice.random() < 0.5),
}


@dataclass
class Load:
    """The answers to the requests of one number of clients."""

    clients: int
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    unequal: int = 0
    elapsed: float = 0.0
    memory_mb: list[float] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "clients": self.clients,
            "requests": sum(self.statuses.values()),
            "statuses": dict(sorted(self.statuses.items())),
            "wrong_statuses": sum(n for status, n in self.statuses.items() if not allowed(status)),
            "unequal_answers": self.unequal,
            "requests_per_second": round(sum(self.statuses.values()) / self.elapsed, 1),
            "p50_ms": round(1e3 * quantile(self.seconds, 0.5), 1),
            "p99_ms": round(1e3 * quantile(self.seconds, 0.99), 1),
            **memory_report(self.memory_mb),
        }


def total(loads: list[Load]) -> dict[str, Any]:
    """What holds of all requests that one service has answered."""
    reports = [load.report() for load in loads]
    sums = {name: sum(report[name] for report in reports) for name in ("requests", "wrong_statuses", "unequal_answers")}
    return sums | memory_report([memory for load in loads for memory in load.memory_mb])


def memory_report(memory_mb: list[float]) -> dict[str, Any]:
    """Memory when the service is warm and at the end."""
    warm = min(int(WARM * len(memory_mb)), MANY)
    early, late = (statistics.median(part) for part in (memory_mb[warm:][:50], memory_mb[-50:]))
    return {"memory_mb": [round(early, 1), round(late, 1)], "memory_growth": round(late / early - 1, 4)}


def allowed(status: str) -> bool:
    """Whether ``image 200``, ``bomb 422`` or ``gone 0`` may be."""
    kind, _, number = status.rpartition(" ")
    return int(number) in ALLOWED or kind == "gone"


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, math.floor(q * len(values)))] if values else math.nan


def close(one: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two answers are equal up to rounding: images run in a batch may differ in the last bits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            close(one[key], other[key], 10 * TOLERANCE if key == "box_xyxy" else tolerance) for key in one
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(close(a, b, tolerance) for a, b in zip(one, other, strict=True))
    return abs(one - other) <= tolerance if isinstance(one, float) else one == other


class Bench:
    """A running service, the images to send, and their answers when each is sent alone."""

    def __init__(self, process: subprocess.Popen[str], address: tuple[str, int], images: list[bytes]) -> None:
        self.process = process
        self.address = address
        self.images = images
        self.alone: list[Any] = []

    async def ask_alone(self) -> None:
        client = Client(self.address)
        for image in self.images:
            answer = await client.post(image)
            if answer.status != 200:
                raise SystemExit(f"an image is refused: {answer.body.decode()}")
            self.alone.append(json.loads(answer.body))
        client.close()

    async def load(self, clients: int, requests: int, junk: float, seed: int = 0) -> Load:
        """Requests of several clients at once, each waiting for its answer before the next."""
        load = Load(clients)
        left = iter(range(requests))
        start = time.perf_counter()
        await asyncio.gather(*(self._client(load, left, junk, random.Random(seed + i)) for i in range(clients)))  # noqa: S311
        load.elapsed = time.perf_counter() - start
        return load

    async def _client(self, load: Load, left: Any, junk: float, dice: random.Random) -> None:
        client = Client(self.address)
        for _ in left:
            try:
                if dice.random() < junk:
                    await self._send_junk(client, load, dice)
                else:
                    await self._send_image(client, load, dice.randrange(len(self.images)))
            except (OSError, EOFError) as error:  # the connection was closed without an answer
                load.statuses[f"{type(error).__name__} 0"] += 1
                client.close()
            load.memory_mb.append(memory_mb(self.process.pid))
        client.close()

    async def _send_junk(self, client: Client, load: Load, dice: random.Random) -> None:
        kind = dice.choice(list(JUNK))
        answer = await JUNK[kind](client, dice.choice(self.images), dice)
        load.statuses[f"{kind} {answer.status}"] += 1

    async def _send_image(self, client: Client, load: Load, index: int) -> None:
        start = time.perf_counter()
        answer = await client.post(self.images[index])
        load.seconds.append(time.perf_counter() - start)
        load.statuses[f"image {answer.status}"] += 1
        if answer.status == 200:
            load.unequal += not close(json.loads(answer.body), self.alone[index])
        elif answer.status == 503:
            await asyncio.sleep(0.1)


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def relative_speed(bench: Bench, detector: Detector, files: list[Path], rounds: int) -> dict[str, Any]:
    """Time of an image in the service and in `Detector.predict`, measured in turn; medians over the rounds."""
    times: dict[str, list[float]] = {"predict": [], "1 client": [], "8 clients": []}
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in detector.predict(files):
            pass
        times["predict"].append((time.perf_counter() - start) / len(files))
        for clients in (1, 8):
            load = asyncio.run(bench.load(clients, len(files), 0.0))
            times[f"{clients} client{'s' if clients > 1 else ''}"].append(load.elapsed / len(files))
    one, many = (
        statistics.median(t / p for t, p in zip(times[name], times["predict"], strict=True))
        for name in ("1 client", "8 clients")
    )
    medians = {name: round(1e3 * statistics.median(values), 2) for name, values in times.items()}
    return {"ms_per_image": medians, "file_to_json": round(one, 3), "throughput": round(1 / many, 3), "rounds": rounds}


def start(arguments: argparse.Namespace) -> tuple[subprocess.Popen[str], tuple[str, int]]:
    command = [sys.executable, "-m", "yolo9000", "serve", arguments.model, "--port", "0", *arguments.serve]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
    assert process.stdout is not None
    address = re.search(r"http://(\S+):(\d+)", process.stdout.readline())
    if address is None:
        raise SystemExit("the service did not start")
    return process, (address[1], int(address[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--model", default="yolo9000-small")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--requests", type=int, nargs="+", default=[5000], help="one number for each number of clients, or for all"
    )
    parser.add_argument("--junk", type=float, default=0.2, help="fraction of the requests that are junk")
    parser.add_argument("--rounds", type=int, default=0, help="of measuring the speed relative to predict")
    parser.add_argument("--json", type=Path, help="also write the report here")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="options of yolo9000 serve, last")
    arguments = parser.parse_args()
    requests = arguments.requests * (len(arguments.clients) if len(arguments.requests) == 1 else 1)
    if len(requests) != len(arguments.clients):
        parser.error("--requests must be one number, or one for each of --clients")
    planned = [(clients, count) for clients, count in zip(arguments.clients, requests, strict=True) if count]
    files = sorted(path for path in arguments.images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    process, address = start(arguments)
    report: dict[str, Any] = {}
    loads: list[Load] = []
    try:
        bench = Bench(process, address, [path.read_bytes() for path in files])
        asyncio.run(bench.ask_alone())
        for clients, count in planned:
            loads.append(asyncio.run(bench.load(clients, count, arguments.junk)))
            report[f"{clients} clients"] = loads[-1].report()
            print(json.dumps(report[f"{clients} clients"]), flush=True)
        if loads:
            report["all"] = total(loads)
            print(json.dumps(report["all"]), flush=True)
        if arguments.rounds:
            detector = Detector.load(arguments.model)
            report["speed"] = relative_speed(bench, detector, files, arguments.rounds)
            print(json.dumps(report["speed"]), flush=True)
    finally:
        process.terminate()
        report["exit"] = process.wait(60)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
