"""The command that measures how fast a detector is here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolo9000.checkpoints.bundled import BUNDLED
from yolo9000.cli.options import parse_size
from yolo9000.cli.terminal import say, say_lines, say_note
from yolo9000.errors import ConfigError, nearest
from yolo9000.io.digits import whole_number

if TYPE_CHECKING:
    from yolo9000.bench.report import Bench

__all__ = ["bench"]


def bench(
    model: Annotated[
        str,
        typer.Argument(help="A model's file or name; of a built-in network's name random weights.", show_default=False),
    ] = BUNDLED,
    engines: Annotated[
        list[str] | None, typer.Option("--engine", help="May be repeated [all that are installed].", show_default=False)
    ] = None,
    precisions: Annotated[
        list[str] | None,
        typer.Option(
            "--precision", help="float32, bfloat16 or int8; may be repeated [the first two].", show_default=False
        ),
    ] = None,
    batch: Annotated[str, typer.Option(help="Numbers of images in a batch, e.g. 1,4.")] = "1",
    size: Annotated[
        str | None, typer.Option(help="Inputs of the network, e.g. 416,608x352 [the model's].", show_default=False)
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Another program on the same weights: onnxruntime, openvino, opencv, darknet=libdarknet.so; or "
            "another network: onnx=FILE. May be repeated.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Folder of images [random pixels, 640x480].", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads [one per core].", show_default=False)] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Each subject runs 3 batches in each round.")] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for bench.json and bench.png.", show_default=False)
    ] = None,
) -> None:
    """Measure latency, throughput, memory and start of a model in each engine, beside other programs."""
    from yolo9000.bench.machine import cpu_name, gemm_peaks, operations, start_times
    from yolo9000.bench.measure import measure
    from yolo9000.bench.report import Bench
    from yolo9000.bench.subjects import int8_files, random_darknet_files, subjects
    from yolo9000.checkpoints.load import load_model
    from yolo9000.io.cores import available_cores

    peers = [_peer(text) for text in against or ()]
    threads = threads or available_cores()
    with tempfile.TemporaryDirectory() as folder:
        path = random_darknet_files(model, Path(folder))
        file = model if path is None else str(path)
        loaded = load_model(file)
        engines, precisions = engines or _installed(), precisions or ["float32", "bfloat16"]
        names = [name for name, _ in peers]
        int8 = int8_files(loaded, engines, names, Path(folder)) if "int8" in precisions else None
        sizes_wh = [parse_size(part) for part in size.split(",")] if size else [loaded.network_wh]
        groups = []
        for group in subjects(
            file,
            engines=engines,
            precisions=precisions,
            batches=_positive(batch),
            sizes_wh=sizes_wh,
            threads=threads,
            peers=peers,
            images=images,
            int8=int8,
            random=path is not None,
        ):
            say_note(f"measuring {len(group)} subjects at {group[0].size_wh}, batch {group[0].batch}")
            groups.append(measure(group, rounds))
        counts = {size_wh: operations(loaded, size_wh) for size_wh in sizes_wh}
        result = Bench(model, cpu_name(), rounds, gemm_peaks(threads), start_times(), counts, groups)
    say_lines(result.lines())
    if out is not None:
        _write(result, out)


def _write(result: Bench, folder: Path) -> None:
    from yolo9000.bench.report import plot_of
    from yolo9000.io.files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "bench.json", json.dumps(result.to_json(), indent=1) + "\n")
    write_atomically(folder / "bench.png", plot_of(result))
    say(f"Results in {folder.resolve()}")


def _installed() -> list[str]:
    from importlib.util import find_spec

    from yolo9000.inference.engines import ENGINES

    return [name for name, entry in ENGINES.items() if find_spec(entry.library) is not None]


def _peer(text: str) -> tuple[str, str]:
    """``darknet=PATH`` or ``opencv`` to a peer's name and its path.

    Raises:
        ConfigError: no peer has that name, or it needs a path, or none.
    """
    from yolo9000.bench.peers import PEERS

    name, _, path = text.partition("=")
    if name not in PEERS:
        raise ConfigError(f"must be one of {', '.join(PEERS)}, got {name!r}{nearest(name, PEERS)}", argument="against")
    needed = PEERS[name].needs_path
    if bool(path) != bool(needed):
        raise ConfigError(f"must be {name}{f'=PATH of {needed}' if needed else ''}, got {text!r}", argument="against")
    return name, path


def _positive(text: str) -> list[int]:
    counts = [whole_number(part) or 0 for part in text.split(",")]
    if 0 in counts:
        raise ConfigError(f"must be integers of at least 1, e.g. 1,4, got {text!r}", argument="batch")
    return counts
